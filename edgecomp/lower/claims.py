"""Whether there is a kernel for an operation that a fusion would make."""

from collections.abc import Callable, Collection

from edgecomp.device.target import Target
from edgecomp.lower.select import find_gpu_schedule, find_schedule
from edgecomp.plan.operations import Operation
from edgecomp.schedules.cpu.dynamic.family import find_dynamic_schedule, is_dynamic_operation

#: Whether a kernel takes an operation, at its sizes or where these are dynamic at all of them.
Claims = Callable[[Operation], bool]


def is_claimed(operation: Operation, target: Target) -> bool:
    """Whether one of the processor's does."""
    find = find_dynamic_schedule if is_dynamic_operation(operation) else find_schedule
    schedule, _ = find(operation, target)
    return schedule is not None


def processor_claims(target: Target) -> Claims:
    """Those of the processor's kernels."""
    return lambda operation: is_claimed(operation, target)


def gpu_claims(target: Target, without: Collection[str]) -> Claims:
    """Those of kernels of the target's GPU.

    Args:
        target: with a GPU.
        without: names of schedules that are not asked.
    """
    return lambda operation: find_gpu_schedule(operation, target, without)[0] is not None
