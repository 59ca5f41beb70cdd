"""Schedules of dynamic operations, the more special ones first; the first that claims has it."""

from collections.abc import Collection

from edgecomp.device.target import Target
from edgecomp.plan.counting import GivenCount, Sizes
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import has_dynamic
from edgecomp.schedules.cpu import gather_parts, top_k
from edgecomp.schedules.cpu.dynamic import (
    batch_products,
    convolutions,
    copies,
    eight_bits,
    elementwise,
    exponentials,
    fills,
    flat,
    given_count,
    halos,
    images,
    integer_products,
    leading,
    non_max_suppression,
    non_zero,
    packed_products,
    paired_products,
    products,
    progression,
    reductions,
    row_norm,
    rows,
    sequences,
    size_list,
    slice_between,
    softmax,
    unique,
)
from edgecomp.schedules.schedule import Schedule

DYNAMIC_SCHEDULES: tuple[Schedule, ...] = (
    paired_products,
    products,
    packed_products,
    batch_products,
    integer_products,
    reductions,
    rows,
    row_norm,
    softmax,
    exponentials,
    sequences,
    elementwise,
    flat,
    leading,
    images,
    convolutions,
    halos,
    fills,
    eight_bits,
    copies,
    non_zero,
    non_max_suppression,
    unique,
    slice_between,
    progression,
    given_count,
    top_k,
    gather_parts,
    size_list,
)


def is_dynamic_operation(operation: Operation) -> bool:
    """Whether a size of an operation differs from run to run."""
    if isinstance(operation.kind, (Sizes, GivenCount)):
        return True
    return any(has_dynamic(value.shape) for value in (*operation.inputs, *operation.outputs))


def find_dynamic_schedule(
    operation: Operation, target: Target, without: Collection[str] = ()
) -> tuple[Schedule | None, list[str]]:
    """The first schedule that claims a dynamic operation, and why those before it did not.

    Args:
        operation: dynamic.
        target: the device.
        without: names of schedules that are not asked.
    """
    refusals: list[str] = []
    for schedule in DYNAMIC_SCHEDULES:
        if schedule.NAME in without:
            continue
        reason = schedule.match(operation, target)
        if not reason:
            return schedule, refusals
        refusals.append(f"{schedule.NAME}: {reason}")
    return None, refusals
