"""Channels of an image that are another image: concatenations in place, slices without copies.

    conv -> a, conv -> b, Concat(a, b) -> y     =>   both convolutions write their part of y
    x -> Slice of channels -> v -> conv         =>   the convolution reads its part of x

Kernels reach images by strides, so that a part costs them nothing; what is saved is one pass over
memory for each part. A part shares the halo of the whole.
"""

import numpy as np

from edgecomp.lower.uses import Uses, replace
from edgecomp.plan.elementwise import Elementwise, LookupTable, QuantizedAdd, QuantizedMultiply
from edgecomp.plan.movement import Reinterpret, Resize, StridedCopy
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.products import Convolution
from edgecomp.plan.quantization import Quantize
from edgecomp.plan.reductions import Pool, Reduce
from edgecomp.plan.values import Order, Value

#: Kinds that walk an image pixel by pixel: the distance of pixels does not matter to them.
_BY_PIXEL = (Convolution, Pool, Resize, Reduce)
#: Kinds that walk a whole image in one run, and so lose where a pixel's own run is short.
_BY_RUN = (Elementwise, LookupTable, Quantize, QuantizedAdd, QuantizedMultiply, StridedCopy)
#: A run of a pixel this long hides the loop around it.
_LEAST_RUN_BYTES = 128


def place_parts(program: Program, fills: dict[Value, float | int]) -> None:
    """Make values parts of others and drop the copies between them.

    Args:
        program: orders are chosen, halos are as wide as their readers need.
        fills: what halos are filled with; those of parts become their wholes'.
    """
    uses = Uses(program)
    fixed = {*program.inputs, *program.outputs}
    gone: set[Operation] = set()
    for operation in program.operations:
        if not _moves_channels(operation):
            continue
        (x,), y = operation.inputs, operation.output
        kind = operation.kind
        assert isinstance(kind, StridedCopy)
        if kind.shape == x.shape and _can_be_part(x, y, uses, fixed, gone):
            part, whole, channel = x, y, kind.out_start[1]
            writers = uses.producers(whole)
            if any(not isinstance(writer.kind, StridedCopy) for writer in writers):
                continue
        elif kind.shape == y.shape and _can_be_part(y, x, uses, fixed, gone | {operation}):
            part, whole, channel = y, x, kind.in_start[1]
        else:
            continue
        if not _share_halo(part, whole, fills):
            continue
        part.part_of, part.first_channel = whole, channel
        gone.add(operation)
    replace(program, gone)


def _moves_channels(operation: Operation) -> bool:
    """Whether it copies channels of whole NHWC images, in their order."""
    kind = operation.kind
    if not isinstance(kind, StridedCopy) or kind.lookup is not None:
        return False
    (x,), y = operation.inputs, operation.output
    if x.order is not Order.NHWC or y.order is not Order.NHWC or x.dtype != y.dtype:
        return False
    plain = kind.in_shape is None and kind.out_shape is None
    identity = kind.permutation == (0, 1, 2, 3)
    steps = {*kind.in_step, *kind.out_step} == {1}
    starts = [*kind.in_start[:1], *kind.in_start[2:], *kind.out_start[:1], *kind.out_start[2:]]
    same_images = x.shape[:1] + x.shape[2:] == y.shape[:1] + y.shape[2:]
    return plain and identity and steps and not any(starts) and same_images


def _can_be_part(
    part: Value, whole: Value, uses: Uses, fixed: set[Value], gone: set[Operation]
) -> bool:
    """Whether everything that makes and reads ``part`` reaches it by strides."""
    if part.part_of is not None or part in fixed or part.constant is not None:
        return False
    if whole.constant is not None or part.shape == whole.shape or _has_view(whole, uses):
        return False
    around = {*uses.producers(part), *uses.consumers(part)} - gone
    long_enough = part.shape[1] * np.dtype(part.dtype).itemsize >= _LEAST_RUN_BYTES
    kinds = (*_BY_PIXEL, *_BY_RUN) if long_enough else _BY_PIXEL
    # A copy between the two goes; the others only move what they move anyway.
    others = [o for o in around if not _moves_channels(o)]
    return all(isinstance(o.kind, kinds) for o in others) and bool(uses.producers(part))


def _has_view(value: Value, uses: Uses) -> bool:
    """Whether another value is the same memory, which then has no room for a halo."""
    chain = [value]
    while chain[-1].part_of is not None:
        chain.append(chain[-1].part_of)
    return any(
        isinstance(operation.kind, Reinterpret)
        for each in chain
        for operation in (*uses.producers(each), *uses.consumers(each))
    )


def _share_halo(part: Value, whole: Value, fills: dict[Value, float | int]) -> bool:
    """Give the outermost whole the halo and fill of both; False where fills differ."""
    root = whole
    while root.part_of is not None:
        root = root.part_of
    mine, theirs = fills.get(part), fills.get(root)
    if mine is not None and theirs is not None and mine != theirs:
        return False
    if mine is not None:
        fills[root] = mine
        del fills[part]
    root.halo = root.halo.union(part.halo)
    return True
