"""Where the elements of a copy's result lie in what it reads, and those of what it copies in it.

A product of two values then reads what a copy in front of it reads, and writes what a copy behind
it writes: neither copy is needed.
"""

import dataclasses
import itertools

from edgecomp.lower.uses import Uses
from edgecomp.plan.movement import StridedCopy
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Value, View, refinement


@dataclasses.dataclass(frozen=True)
class Moved:
    """A value as an operation sees it.

    Attributes:
        value: what memory holds.
        view: where the elements lie in it.
        copy: that is not needed, None for none.
    """

    value: Value
    view: View
    copy: Operation | None = None


def made_by(value: Value, uses: Uses) -> Operation | None:
    """The operation that makes all of a value which nothing else than one other reads."""
    makers = uses.producers(value)
    if len(makers) != 1 or uses.only_consumer(value) is None:
        return None
    return makers[0]


def read_through(value: Value, uses: Uses) -> Moved:
    """What an operation reads, in front of a copy for it alone."""
    copy = made_by(value, uses)
    if copy is not None and isinstance(copy.kind, StridedCopy):
        view = _source_view(copy, value)
        if view is not None:
            return Moved(copy.inputs[0], view, copy)
    return Moved(value, value.view)


def written_through(value: Value, uses: Uses) -> Moved:
    """Where an operation's result goes, behind a copy of all of it."""
    copy = uses.only_consumer(value)
    if copy is not None and isinstance(copy.kind, StridedCopy):
        view = _result_view(copy, value)
        if view is not None and len(uses.producers(copy.output)) == 1:
            return Moved(copy.output, view, copy)
    return Moved(value, value.view)


def turned(view: View) -> View:
    """The view with its last two dimensions exchanged."""

    def exchanged(values: tuple[int, ...]) -> tuple[int, ...]:
        return (*values[:-2], values[-1], values[-2])

    return View(exchanged(view.shape), exchanged(view.strides), view.offset, view.elements)


def _source_view(copy: Operation, value: Value) -> View | None:
    """Where the elements of a copy's result lie in what it reads, None where it changes them."""
    kind, source = copy.kind, copy.inputs[0]
    assert isinstance(kind, StridedCopy)
    if kind.lookup is not None or kind.shape != (kind.out_shape or value.shape):
        return None
    if any(kind.out_start) or any(step != 1 for step in kind.out_step):
        return None
    view = source.view if kind.in_shape is None else source.view.refined(kind.in_shape)
    strides, offset = [0] * len(kind.shape), view.offset
    for stride, step, start, follows in zip(
        view.strides, kind.in_step, kind.in_start, kind.permutation, strict=True
    ):
        offset += start * stride
        if follows >= 0:
            strides[follows] += stride * step
    return _joined(View(kind.shape, tuple(strides), offset, view.elements), value.shape)


def _joined(view: View, shape: tuple[int, ...]) -> View | None:
    """The view in fewer dimensions, None where those that are joined do not lie in a row."""
    groups = refinement(shape, view.shape)
    if groups is None:
        return None
    strides, at = [], 0
    for group in groups:
        parts = [
            (size, stride)
            for size, stride in zip(group, view.strides[at : at + len(group)], strict=True)
            if size != 1
        ]
        for (_, outer), (size, inner) in itertools.pairwise(parts):
            if outer != size * inner:
                return None
        strides.append(parts[-1][1] if parts else 0)
        at += len(group)
    return View(shape, tuple(strides), view.offset, view.elements)


def _result_view(copy: Operation, value: Value) -> View | None:
    """Where a copy of all of a value puts its elements, None where it changes or repeats them."""
    kind, output = copy.kind, copy.output
    assert isinstance(kind, StridedCopy)
    if kind.lookup is not None:
        return None
    if any(kind.in_start) or any(step != 1 for step in kind.in_step):
        return None
    if sorted(kind.permutation) != list(range(len(kind.shape))):
        return None
    finer = kind.in_shape or value.shape
    if any(kind.shape[p] != n for p, n in zip(kind.permutation, finer, strict=True)):
        return None
    view = output.view if kind.out_shape is None else output.view.refined(kind.out_shape)
    offset = view.offset + sum(
        start * stride for start, stride in zip(kind.out_start, view.strides, strict=True)
    )
    strides = tuple(view.strides[p] * kind.out_step[p] for p in kind.permutation)
    return _joined(View(finer, strides, offset, view.elements), value.shape)
