"""Schedules of dynamic operations, the more special ones first; the first that claims has it."""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import has_dynamic
from edgecomp.schedules.cpu.dynamic import (
    batch_products,
    copies,
    elementwise,
    flat,
    leading,
    packed_products,
    products,
    reductions,
    rows,
    softmax,
)
from edgecomp.schedules.schedule import Schedule

DYNAMIC_SCHEDULES: tuple[Schedule, ...] = (
    products,
    packed_products,
    batch_products,
    reductions,
    rows,
    softmax,
    elementwise,
    flat,
    leading,
    copies,
)


def is_dynamic_operation(operation: Operation) -> bool:
    """Whether a size of an operation differs from run to run."""
    return any(has_dynamic(value.shape) for value in (*operation.inputs, *operation.outputs))


def find_dynamic_schedule(
    operation: Operation, target: Target
) -> tuple[Schedule | None, list[str]]:
    """The first schedule that claims a dynamic operation, and why those before it did not."""
    refusals: list[str] = []
    for schedule in DYNAMIC_SCHEDULES:
        reason = schedule.match(operation, target)
        if not reason:
            return schedule, refusals
        refusals.append(f"{schedule.NAME}: {reason}")
    return None, refusals
