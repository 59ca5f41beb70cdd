"""Which values a GPU keeps as floats of 16 bits: those that its kernels alone read and write.

Inputs and outputs of the model, and whatever the processor reads or writes, stay float32: the
first kernel behind an input rounds, the last in front of an output does not.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator

from edgecomp.device.target import Target
from edgecomp.lower.place_copies import root_of
from edgecomp.lower.select import find_gpu_schedule
from edgecomp.plan.movement import Reinterpret
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.values import Value


def narrow_values(
    program: Program,
    target: Target,
    without: Collection[str] = (),
    left: Collection[Operation] = (),
    wide: Collection[str] = (),
) -> list[Value]:
    """The values, every view of one memory with it.

    Args:
        program: operations in their layout; views are set.
        target: with a GPU, which takes what it has schedules for.
        without: names of schedules that are not asked.
        left: operations that the processor has all the same.
        wide: names of values that 16 bits do not hold.
    """
    kept = {root_of(value) for value in (*program.inputs, *program.outputs)}
    views: dict[Value, list[Value]] = {}
    for operation in program.operations:
        touched = [
            value
            for value in (*operation.inputs, *operation.outputs)
            if root_of(value).constant is None
        ]
        for value in touched:
            views.setdefault(root_of(value), []).append(value)
        kept |= {root_of(v) for v in touched if v.dtype != "float32" or v.name in wide}
        if isinstance(operation.kind, Reinterpret):
            continue
        if operation in left or not _is_able(operation, target, without):
            kept |= {root_of(value) for value in touched}
    narrow = [
        value for root, own in views.items() if root not in kept for value in (root, *own)
    ]
    return list(dict.fromkeys(narrow))


def _is_able(operation: Operation, target: Target, without: Collection[str]) -> bool:
    schedule, _ = find_gpu_schedule(operation, target, without)
    return schedule is not None


@contextlib.contextmanager
def stored_as(values: Iterable[Value], dtype: str) -> Iterator[None]:
    """While the block runs the values lie in memory as another type."""
    chosen = list(values)
    for value in chosen:
        value.storage = dtype
    try:
        yield
    finally:
        for value in chosen:
            value.storage = ""
