"""Attention in a program, as one operation for a GPU that has a kernel for it.

    q, k, v = copies that transpose
    scores = q @ k, a chain of elementwise steps, softmax along the keys, weights @ v
    y = a copy that transposes
    ->
    y = Attention(what the copies read)

Copies in front and behind are taken in where nothing else reads what they make: the kernel reads
and writes where they would have. The processor's plan keeps the operations as they were.
"""

import dataclasses
import itertools
from collections.abc import Collection

from edgecomp.device.target import Target
from edgecomp.lower.select import find_gpu_schedule
from edgecomp.lower.uses import Uses
from edgecomp.plan.operations import (
    Attention,
    BatchMatrixMultiply,
    Elementwise,
    Operation,
    Program,
    Softmax,
    Step,
    StridedCopy,
)
from edgecomp.plan.values import Value, View, refinement


def fuse_attention(
    program: Program,
    target: Target,
    without: Collection[str] = (),
    left: Collection[Operation] = (),
) -> Program:
    """The program with attentions where the target's GPU has them.

    Args:
        program: in its layout; stays as it is.
        target: with a GPU.
        without: names of schedules that are not asked.
        left: operations that the processor has.
    """
    uses = Uses(program)
    made: dict[Operation, Operation] = {}
    gone: set[Operation] = set()
    for operation in program.operations:
        if not isinstance(operation.kind, Softmax):
            continue
        found = _attention_of(operation, uses)
        if found is None or any(part in left for part in found.parts):
            continue
        wanted = (found.operation, *found.parts)  # the steps between are part of its kernel
        if any(find_gpu_schedule(o, target, without)[0] is None for o in wanted):
            continue
        made[found.parts[-1]] = found.operation
        gone.update(found.parts)
    if not made:
        return program
    kept = [made.get(o, o) for o in program.operations if o in made or o not in gone]
    return dataclasses.replace(program, operations=kept)


@dataclasses.dataclass(frozen=True)
class _Found:
    """An attention, and the operations that it stands for, in order."""

    operation: Operation
    parts: tuple[Operation, ...]


def _attention_of(softmax: Operation, uses: Uses) -> _Found | None:
    """The attention around a softmax."""
    kind, weights = softmax.kind, softmax.output
    assert isinstance(kind, Softmax)
    if kind.logarithm or kind.axis % len(weights.shape) != len(weights.shape) - 1:
        return None
    before, between = _made_by(softmax.inputs[0], uses), None
    if before is not None and isinstance(before.kind, Elementwise):
        between = before
        before = _scores_of(between, uses)
    after = uses.only_consumer(weights)
    if before is None or not isinstance(before.kind, BatchMatrixMultiply):
        return None
    if after is None or not isinstance(after.kind, BatchMatrixMultiply):
        return None
    if after.inputs[0] is not weights or after.kind.transpose_a or after.kind.alpha != 1:
        return None
    batch = weights.shape[:-2]
    operands = [
        _operand(before.inputs[0], batch, uses, turned=before.kind.transpose_a),
        _operand(before.inputs[1], batch, uses, turned=not before.kind.transpose_b),
        _operand(after.inputs[1], batch, uses, turned=after.kind.transpose_b),
    ]
    if any(operand is None for operand in operands):
        return None
    (q, q_view, q_copy), (k, k_view, k_copy), (v, v_view, v_copy) = filter(None, operands)
    y, y_view, y_copy = _result(after, uses)
    steps: tuple[Step, ...] = ()
    extras: list[Value] = []
    if between is not None:
        renumbered = _steps_of(between, before.output)
        if renumbered is None:
            return None
        steps, extras = renumbered
    attention = Attention(
        q=q_view, k=k_view, v=v_view, y=y_view, alpha=before.kind.alpha, steps=steps
    )
    ordered = (q_copy, k_copy, before, between, softmax, v_copy, after, y_copy)
    parts = tuple(
        sorted(dict.fromkeys(part for part in ordered if part is not None), key=uses.position)
    )
    nodes = tuple(node for part in parts for node in part.nodes)
    operation = Operation(attention, [q, k, v, *extras], [y], nodes, before.source)
    return _Found(operation, parts)


def _made_by(value: Value, uses: Uses) -> Operation | None:
    """The operation that makes all of a value which nothing else than one other reads."""
    makers = uses.producers(value)
    if len(makers) != 1 or uses.only_consumer(value) is None:
        return None
    return makers[0]


def _scores_of(between: Operation, uses: Uses) -> Operation | None:
    """The product whose scores a chain changes; its result has their shape and type."""
    output = between.output
    if output.dtype != "float32":
        return None
    for value in between.inputs:
        if value.shape != output.shape:
            continue
        maker = _made_by(value, uses)
        if maker is not None and isinstance(maker.kind, BatchMatrixMultiply):
            return maker
    return None


def _steps_of(
    between: Operation, scores: Value
) -> tuple[tuple[Step, ...], list[Value]] | None:
    """Steps with the scores as their first operand, and the other inputs."""
    kind = between.kind
    assert isinstance(kind, Elementwise)
    others = [value for value in between.inputs if value is not scores]
    if len(others) != len(between.inputs) - 1:
        return None
    place = between.inputs.index(scores)

    def moved(operand: int) -> int:
        return 0 if operand == place else operand + (operand < place)

    steps = tuple(
        dataclasses.replace(step, operands=tuple(map(moved, step.operands)))
        for step in kind.steps
    )
    return steps, others


def _operand(
    value: Value, batch: tuple[int, ...], uses: Uses, *, turned: bool
) -> tuple[Value, View, Operation | None] | None:
    """What a product reads: the value, where its elements lie, and a copy that is not needed."""
    view, copy = value.view, _made_by(value, uses)
    if copy is not None and isinstance(copy.kind, StridedCopy):
        source = _source_view(copy, value)
        if source is not None:
            value, view = copy.inputs[0], source
        else:
            copy = None
    else:
        copy = None
    if value.constant is not None or value.dtype != "float32":
        return None
    view = view.broadcast_to((*batch, *view.shape[-2:]))
    return value, _turned(view) if turned else view, copy


def _turned(view: View) -> View:
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


def _result(product: Operation, uses: Uses) -> tuple[Value, View, Operation | None]:
    """The value that holds the result, where its elements lie, and a copy that is not needed."""
    value = product.output
    copy = uses.only_consumer(value)
    if copy is not None and isinstance(copy.kind, StridedCopy):
        view = _result_view(copy, value)
        if view is not None and len(uses.producers(copy.output)) == 1:
            return copy.output, view, copy
    return value, value.view, None


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
