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
from collections.abc import Collection

from edgecomp.device.target import Target
from edgecomp.lower.copied_views import Moved, made_by, read_through, turned, written_through
from edgecomp.lower.select import find_gpu_schedule
from edgecomp.lower.steps_behind import steps_behind
from edgecomp.lower.uses import Fused, Uses, exchanged
from edgecomp.plan.attention import Attention, Softmax
from edgecomp.plan.elementwise import Elementwise, Step
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.products import BatchMatrixMultiply
from edgecomp.plan.values import Value


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
        if found is None or any(part in left or part in gone for part in found.parts):
            continue  # of two that a copy joins, the first has it
        wanted = (found.operation, *found.parts)  # the steps between are part of its kernel
        if any(find_gpu_schedule(o, target, without)[0] is None for o in wanted):
            continue
        made[found.parts[-1]] = found.operation
        gone.update(found.parts)
    return exchanged(program, made, gone)


def _attention_of(softmax: Operation, uses: Uses) -> Fused | None:
    """The attention around a softmax."""
    kind, weights = softmax.kind, softmax.output
    assert isinstance(kind, Softmax)
    if kind.logarithm or kind.axis % len(weights.shape) != len(weights.shape) - 1:
        return None
    before, between = made_by(softmax.inputs[0], uses), None
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
        _operand(before.inputs[0], batch, uses, is_turned=before.kind.transpose_a),
        _operand(before.inputs[1], batch, uses, is_turned=not before.kind.transpose_b),
        _operand(after.inputs[1], batch, uses, is_turned=after.kind.transpose_b),
    ]
    if any(operand is None for operand in operands):
        return None
    q, k, v = filter(None, operands)
    y = written_through(after.output, uses)
    steps: tuple[Step, ...] = ()
    extras: list[Value] = []
    if between is not None:
        renumbered = steps_behind(between, before.output)
        if renumbered is None:
            return None
        steps, extras = renumbered
    attention = Attention(
        q=q.view, k=k.view, v=v.view, y=y.view, alpha=before.kind.alpha, steps=steps
    )
    ordered = (q.copy, k.copy, before, between, softmax, v.copy, after, y.copy)
    parts = tuple(
        sorted(dict.fromkeys(part for part in ordered if part is not None), key=uses.position)
    )
    nodes = tuple(node for part in parts for node in part.nodes)
    inputs = [q.value, k.value, v.value, *extras]
    operation = Operation(attention, inputs, [y.value], nodes, before.source)
    return Fused(operation, parts)


def _scores_of(between: Operation, uses: Uses) -> Operation | None:
    """The product whose scores a chain changes; its result has their shape and type."""
    output = between.output
    if output.dtype != "float32":
        return None
    for value in between.inputs:
        if value.shape != output.shape:
            continue
        maker = made_by(value, uses)
        if maker is not None and isinstance(maker.kind, BatchMatrixMultiply):
            return maker
    return None


def _operand(
    value: Value, batch: tuple[int, ...], uses: Uses, *, is_turned: bool
) -> Moved | None:
    """What a product reads, in the batch's shape; None where there is no kernel for it."""
    moved = read_through(value, uses)
    if moved.value.constant is not None or moved.value.dtype != "float32":
        return None
    view = moved.view.broadcast_to((*batch, *moved.view.shape[-2:]))
    return dataclasses.replace(moved, view=turned(view) if is_turned else view)
