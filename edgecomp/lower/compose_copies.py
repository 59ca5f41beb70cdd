"""A copy of a copy reads what the first one read.

    x -> StridedCopy -> y -> StridedCopy -> z          =>   x -> StridedCopy -> z
    a, b -> StridedCopy into y -> StridedCopy -> z     =>   a, b -> StridedCopy into z

The second form is a concatenation whose result is only transposed: its parts go to their final
places at once. Both keep every copy a box with one step per dimension; where a dimension that is
cut into factors has a start or a step of its own, nothing is done.
"""

import dataclasses
import math
from collections.abc import Sequence

from edgecomp.lower.uses import Uses, drop_unread, replace
from edgecomp.plan.movement import StridedCopy
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.values import refinement


@dataclasses.dataclass(frozen=True)
class _Axis:
    """How one dimension of what a copy reads runs.

    Attributes:
        size: extent of the dimension.
        follows: dimension of the box, or -1.
        start, step: in the dimension.
    """

    size: int
    follows: int
    start: int
    step: int


def compose_copies(program: Program) -> None:
    """Compose until nothing changes; copies that nobody reads go."""
    while _compose_chains(program) or _compose_joins(program):
        drop_unread(program, StridedCopy)


def _compose_chains(program: Program) -> bool:
    """Second copies of a value that one copy writes whole."""
    uses = Uses(program)
    for operation in program.operations:
        kind = operation.kind
        if not isinstance(kind, StridedCopy) or kind.lookup is not None:
            continue
        (y,) = operation.inputs
        writers = uses.producers(y)
        if len(writers) != 1 or not _copies_whole(writers[0]):
            continue
        if not _readers_share(y.elements, uses.consumers(y)):
            continue
        first, groups = writers[0].kind, refinement(y.shape, kind.in_shape or y.shape)
        assert isinstance(first, StridedCopy)
        if groups is None:
            continue
        axes = _composed(first, writers[0].inputs[0].shape, kind, groups)
        if axes is None:
            continue
        operation.kind = _with_axes(kind, axes)
        operation.inputs = list(writers[0].inputs)
        operation.nodes = tuple(dict.fromkeys([*writers[0].nodes, *operation.nodes]))
        return True
    return False


def _compose_joins(program: Program) -> bool:
    """Parts of a value that is only copied whole go to their final places."""
    uses = Uses(program)
    for operation in program.operations:
        kind = operation.kind
        if not isinstance(kind, StridedCopy) or not _moves_all(operation):
            continue
        (y,) = operation.inputs
        parts = uses.producers(y)
        if uses.only_consumer(y) is not operation or len(parts) < 2:
            continue
        moved = [_moved_part(part, operation) for part in parts]
        if any(each is None for each in moved) or len(uses.producers(operation.output)) != 1:
            continue
        for part, each in zip(parts, moved, strict=True):
            assert each is not None
            part.kind = each
            part.outputs = [operation.output]
            part.nodes = tuple(dict.fromkeys([*part.nodes, *operation.nodes]))
        replace(program, [operation])
        return True
    return False


def _copies_whole(operation: Operation) -> bool:
    """Whether a copy writes all of its output, under the output's own shape."""
    kind = operation.kind
    return (
        isinstance(kind, StridedCopy)
        and kind.lookup is None
        and kind.out_shape is None
        and kind.shape == operation.output.shape
        and set(kind.out_step) <= {1}
        and operation.inputs[0].constant is None
    )


def _readers_share(elements: int, readers: Sequence[Operation]) -> bool:
    """Whether all readers are copies that together read no element twice, by their number."""
    if not all(isinstance(reader.kind, StridedCopy) for reader in readers):
        return False
    read = sum(math.prod(r.kind.shape) for r in readers if isinstance(r.kind, StridedCopy))
    return read <= elements


def _composed(
    first: StridedCopy,
    x_shape: tuple[int, ...],
    second: StridedCopy,
    groups: Sequence[tuple[int, ...]],
) -> list[_Axis] | None:
    """Axes of the first copy's input under the second copy's box.

    Args:
        first: copy whose output is read.
        second: copy that reads it.
        x_shape: of what the first reads.
        groups: factors into which the second cuts each dimension of the first's box.
    """
    axes: list[_Axis] = []
    own = first.in_shape or x_shape
    for size, follows, start, step in zip(
        own, first.permutation, first.in_start, first.in_step, strict=True
    ):
        long = [] if follows < 0 else _long(groups, follows)
        if not long:
            axes.append(_Axis(size, -1, start, step))
            continue
        if len(long) > 1:
            # The box is one of equal pieces of the dimension, else its factors are no cut of it.
            piece = math.prod(factor for _, factor in long)
            if step != 1 or start % piece or size % piece:
                return None
            axes.append(_Axis(size // piece, -1, start // piece, 1))
            start = 0
        for q, factor in long:
            axes.append(
                _Axis(
                    factor if len(long) > 1 else size,
                    second.permutation[q],
                    start + second.in_start[q] * step,
                    step * second.in_step[q],
                )
            )
    return axes


def _long(groups: Sequence[tuple[int, ...]], dimension: int) -> list[tuple[int, int]]:
    """Positions and sizes of a dimension's factors that are not 1."""
    begin = sum(map(len, groups[:dimension]))
    factors = groups[dimension]
    return [(begin + k, factor) for k, factor in enumerate(factors) if factor != 1]


def _with_axes(kind: StridedCopy, axes: list[_Axis]) -> StridedCopy:
    return dataclasses.replace(
        kind,
        in_shape=tuple(axis.size for axis in axes),
        permutation=tuple(axis.follows for axis in axes),
        in_start=tuple(axis.start for axis in axes),
        in_step=tuple(axis.step for axis in axes),
    )


def _moves_all(operation: Operation) -> bool:
    """Whether a copy takes every element of its input to every place of its output."""
    kind, x, y = operation.kind, operation.inputs[0], operation.output
    assert isinstance(kind, StridedCopy)
    steps = {*kind.in_step, *kind.out_step} == {1}
    plain = (
        not any((*kind.in_start, *kind.out_start)) and min(kind.permutation, default=0) >= 0
    )
    one_each = len(set(kind.permutation)) == len(kind.permutation) == len(kind.shape)
    whole = math.prod(kind.shape) == x.elements == y.elements
    return kind.lookup is None and steps and plain and one_each and whole


def _moved_part(part: Operation, after: Operation) -> StridedCopy | None:
    """The copy of a part to where ``after`` takes it, None where that is no box."""
    kind, move = part.kind, after.kind
    assert isinstance(move, StridedCopy)
    if not isinstance(kind, StridedCopy) or kind.out_shape is not None:
        return None
    if set(kind.out_step) - {1} or part.inputs[0].constant is not None:
        return None
    y_shape = part.output.shape
    groups = refinement(y_shape, move.in_shape or y_shape)
    if groups is None:
        return None
    shape, start = list(move.shape), list(move.out_start)
    for d in range(len(groups)):
        long = _long(groups, d)
        if len(long) > 1 and (kind.out_start[d], kind.shape[d]) != (0, y_shape[d]):
            return None
        if len(long) == 1:
            box = move.permutation[long[0][0]]
            shape[box], start[box] = kind.shape[d], kind.out_start[d]
    axes = _composed(kind, part.inputs[0].shape, move, groups)
    if axes is None:
        return None
    moved = _with_axes(move, axes)
    return dataclasses.replace(
        moved, shape=tuple(shape), out_start=tuple(start), lookup=kind.lookup
    )
