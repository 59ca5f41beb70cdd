"""Copies reach through the reshapes around them, and through each other.

    x -> Reinterpret [N, g, C/g, H, W] -> StridedCopy -> Reinterpret [N, C, H, W]
        =>   x -> StridedCopy (in_shape, out_shape)

A Reinterpret wants both sides row-major, which on images costs a copy on either side. Where it
only cuts dimensions into factors, or joins them, the copy can index the values themselves, in
whatever order they lie.
"""

import dataclasses

from edgecomp.lower.compose_copies import compose_copies
from edgecomp.lower.uses import Uses, drop_unread, replace
from edgecomp.plan.movement import Reinterpret, StridedCopy
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.values import refinement


def fuse_moves(program: Program) -> None:
    """Let every copy index the values beyond its reshapes."""
    _cut_inputs(program)
    _join_outputs(program)
    drop_unread(program, Reinterpret)
    compose_copies(program)


def _cut_inputs(program: Program) -> None:
    views = {o.output: o.inputs[0] for o in program.operations if _is_view(o)}
    for operation in program.operations:
        kind = operation.kind
        if not isinstance(kind, StridedCopy) or kind.in_shape is not None:
            continue
        (x,) = operation.inputs
        source = x
        while source in views:
            source = views[source]
        if source is x or source.constant is not None or source.dtype != x.dtype:
            continue
        if refinement(source.shape, x.shape) is None:
            continue
        operation.kind = dataclasses.replace(kind, in_shape=x.shape)
        operation.inputs = [source]


def _join_outputs(program: Program) -> None:
    uses = Uses(program)
    gone: list[Operation] = []
    for operation in program.operations:
        if not _is_view(operation):
            continue
        moved, result = operation.inputs[0], operation.output
        writers = uses.producers(moved)
        if uses.only_consumer(moved) is not operation or not writers:
            continue
        if any(not _can_write(writer) for writer in writers):
            continue
        if refinement(result.shape, moved.shape) is None or moved.dtype != result.dtype:
            continue
        for writer in writers:
            assert isinstance(writer.kind, StridedCopy)
            writer.kind = dataclasses.replace(writer.kind, out_shape=moved.shape)
            writer.outputs = [result]
        gone.append(operation)
    replace(program, gone)


def _can_write(operation: Operation) -> bool:
    return isinstance(operation.kind, StridedCopy) and operation.kind.out_shape is None


def _is_view(operation: Operation) -> bool:
    return isinstance(operation.kind, Reinterpret)
