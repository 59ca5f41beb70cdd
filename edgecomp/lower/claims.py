"""Whether a kernel of the processor takes an operation that a fusion would make."""

from edgecomp.device.target import Target
from edgecomp.lower.select import find_schedule
from edgecomp.plan.operations import Operation
from edgecomp.schedules.cpu.dynamic.family import find_dynamic_schedule, is_dynamic_operation


def is_claimed(operation: Operation, target: Target) -> bool:
    """Whether one does, at the operation's sizes or where these are dynamic at all of them."""
    find = find_dynamic_schedule if is_dynamic_operation(operation) else find_schedule
    schedule, _ = find(operation, target)
    return schedule is not None
