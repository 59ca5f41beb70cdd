"""Operands that do not fit together and that onnx's rules of inference let pass."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import onnx_ir as ir

from edgecomp.graph.constants import constant_array

#: None where it is absent or not known.
Shape = tuple[int, ...] | None

#: Gates of a recurrent cell.
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@dataclasses.dataclass(frozen=True)
class Operands:
    """A node and the shapes of its inputs and outputs."""

    node: ir.Node
    inputs: Sequence[Shape]
    outputs: Sequence[Shape]


def _reshape_misfit(given: Operands) -> str:
    """A Reshape keeps the number of elements."""
    before, after = given.inputs[0], given.outputs[0]
    if before is None or after is None or math.prod(before) == math.prod(after):
        return ""
    return f"{list(before)} has {math.prod(before)} elements, {list(after)} {math.prod(after)}"


def _convolution_misfit(given: Operands) -> str:
    """The weights' channels and groups are those of the image."""
    image, weights = given.inputs[:2]
    groups = given.node.attributes.get_int("group", 1)
    if groups < 1:
        return f"group is {groups}"
    if image is None or weights is None:
        return ""
    # Conv has weights [out, in / groups, ...], ConvTranspose [in, out / groups, ...].
    transposed = given.node.op_type == "ConvTranspose"
    channels = weights[0] if transposed else weights[1] * groups
    if channels != image[1]:
        return f"an image of {image[1]} channels, weights {list(weights)} and {groups} groups"
    if weights[0] % groups:
        return f"{weights[0]} channels cannot be in {groups} groups"
    return _channels_misfit(
        given.inputs[2:], weights[1] * groups if transposed else weights[0]
    )


def _channels_misfit(others: Sequence[Shape], channels: int) -> str:
    """One number for each channel in each of the others."""
    for shape in others:
        if shape is not None and shape != (channels,):
            return f"{list(shape)} for {channels} channels"
    return ""


def _axis_misfit(given: Operands) -> str:
    """An axis that is an input is one of the first input's."""
    axis, x = constant_array(given.node.inputs[1]), given.inputs[0]
    if axis is None or x is None:
        return ""
    rank = len(x)
    if axis.size == 1 and -rank <= int(axis.ravel()[0]) < rank:
        return ""
    return f"axis {axis.ravel().tolist()} of {rank} dimensions"


def _col2im_misfit(given: Operands) -> str:
    """There are as many columns as blocks fit into the padded image."""
    columns, node = given.inputs[0], given.node
    image, block = (constant_array(value) for value in node.inputs[1:3])
    if columns is None or image is None or block is None:
        return ""
    rank = len(image)
    ones, zeros = [1] * rank, [0] * (2 * rank)
    strides, dilations, pads = (
        list(node.attributes.get_ints(name) or default)
        for name, default in (("strides", ones), ("dilations", ones), ("pads", zeros))
    )
    lengths = [len(columns), len(block), len(strides), len(dilations), len(pads)]
    if lengths != [3, rank, rank, rank, 2 * rank]:
        return f"an image of {rank} dimensions, and attributes or a block of another number"
    if min([*image, *block, *strides, *dilations]) < 1:
        return "an extent, stride or dilation below 1"
    blocks = 1
    for at in range(rank):
        padded = int(image[at]) + pads[at] + pads[at + rank]
        blocks *= (padded - dilations[at] * (int(block[at]) - 1) - 1) // strides[at] + 1
    taps = math.prod(int(each) for each in block)
    if columns[2] != blocks or columns[1] % taps:
        wanted = f"a multiple of {taps} rows and {blocks} columns"
        return f"{columns[1]} rows and {columns[2]} columns, where the image has {wanted}"
    return ""


def _recurrent_misfit(given: Operands) -> str:
    """Weights, bias and states have the sizes of the sequence and of hidden_size."""
    node, shapes = given.node, [*given.inputs, *[None] * (8 - len(given.inputs))]
    x, w, r = shapes[:3]
    if x is None or w is None or r is None or not len(x) == len(w) == len(r) == 3:
        return ""
    batch = x[0] if node.attributes.get_int("layout", 0) else x[1]
    directions, hidden = w[0], node.attributes.get_int("hidden_size", r[2])
    rows = _GATES[node.op_type] * hidden
    states = (batch, directions, hidden)
    if not node.attributes.get_int("layout", 0):
        states = (directions, batch, hidden)
    bidirectional = node.attributes.get_string("direction", "forward") == "bidirectional"
    wanted: dict[str, tuple[int, ...]] = {
        "W": (1 + bidirectional, rows, x[2]),
        "R": (1 + bidirectional, rows, hidden),
        "B": (directions, 2 * rows),
        "sequence_lens": (batch,),
        "initial_h": states,
        "initial_c": states,
        "P": (directions, 3 * hidden),
    }
    for (name, shape), found in zip(wanted.items(), shapes[1:], strict=True):
        if found is not None and found != shape:
            return f"{name} is {list(found)} and should be {list(shape)}"
    return ""


def _slope_misfit(given: Operands) -> str:
    """A slope is repeated along the input's dimensions, never the other way."""
    x, slope = given.inputs[:2]
    if x is None or slope is None or _repeats(slope, x):
        return ""
    return f"slopes {list(slope)} for {list(x)}"


def _repeats(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether a tensor is repeated along dimensions of another, whose shape stays."""
    behind = to[len(to) - len(shape) :]
    return len(shape) <= len(to) and all(
        s in (1, e) for s, e in zip(shape, behind, strict=True)
    )


def _caches_misfit(given: Operands) -> str:
    """Cosines and sines belong together."""
    cosines, sines = given.inputs[1:3]
    if cosines is None or sines is None or cosines == sines:
        return ""
    return f"cosines {list(cosines)} and sines {list(sines)}"


def _grid_misfit(given: Operands) -> str:
    """One matrix [2, 3] or [3, 4] for each image."""
    matrices, size = given.inputs[0], constant_array(given.node.inputs[1])
    if matrices is None or size is None:
        return ""
    rank = size.size - 2
    wanted = [int(size[0]), rank, rank + 1] if size.size else []
    return "" if list(matrices) == wanted else f"theta {list(matrices)} for {size.tolist()}"


def _unpool_misfit(given: Operands) -> str:
    """Windows of at least one element, and an index for every element."""
    for name in ("kernel_shape", "strides"):
        if any(number < 1 for number in given.node.attributes.get_ints(name) or ()):
            return f"{name} below 1"
    x, indices = given.inputs[:2]
    if x is None or indices is None or x == indices:
        return ""
    return f"indices {list(indices)} for {list(x)}"


def _gathered_misfit(given: Operands) -> str:
    """Indices reach no further than the data, but along the axis."""
    data, indices = given.inputs[:2]
    if data is None or indices is None:
        return ""
    if len(data) != len(indices):
        return f"indices {list(indices)} of {list(data)}"
    axis = given.node.attributes.get_int("axis", 0) % max(1, len(data))
    if all(i <= d for k, (i, d) in enumerate(zip(indices, data, strict=True)) if k != axis):
        return ""
    return f"indices {list(indices)} beside {list(data)}"


def _zero_points_misfit(given: Operands, *scales: int) -> str:
    """A zero point for each scale, behind it."""
    for index in scales:
        shapes = [*given.inputs, None, None][index : index + 2]
        if None not in shapes and math.prod(shapes[0] or ()) != math.prod(shapes[1] or ()):
            return f"scales {list(shapes[0] or ())} and zero points {list(shapes[1] or ())}"
    return ""


def _quantized_product_misfit(given: Operands) -> str:
    """Zero points are given as the scales are."""
    return _zero_points_misfit(given, 1, 4, 6)


def _quantized_convolution_misfit(given: Operands) -> str:
    """One scale for all weights, or one for each output channel; the same of zero points."""
    weights = given.inputs[3]
    for what, shape in zip(("scales", "zero points"), given.inputs[4:6], strict=True):
        if weights is None or shape is None:
            continue
        if len(shape) > 1 or math.prod(shape) not in (1, weights[0]):
            return f"{what} {list(shape)} for weights {list(weights)}"
    bias = given.inputs[8:]
    return _zero_points_misfit(given, 1, 6) or (
        "" if weights is None else _channels_misfit(bias, weights[0])
    )


def _split_misfit(given: Operands) -> str:
    """Parts of one size, where neither sizes nor their number are given."""
    x = given.inputs[0]
    if x is None or len(given.inputs) > 1 or "num_outputs" in given.node.attributes:
        return ""
    extent, parts = x[given.node.attributes.get_int("axis", 0)], len(given.outputs)
    return f"{extent} elements in {parts} parts" if extent % parts else ""


def _boxes_misfit(given: Operands) -> str:
    """Boxes and scores of the same images; limits are single numbers."""
    boxes, scores = given.inputs[:2]
    if boxes is not None and scores is not None:
        if (boxes[0], boxes[1]) != (scores[0], scores[2]):
            return f"boxes {list(boxes)} and scores {list(scores)}"
    limits = [shape for shape in given.inputs[2:] if shape is not None]
    return (
        "" if all(math.prod(shape) == 1 for shape in limits) else "a limit of several numbers"
    )


def _offsets_misfit(given: Operands) -> str:
    """Image, weights, offsets and mask have as many dimensions; offsets are those of the images."""
    shapes = [shape for k, shape in enumerate(given.inputs) if shape is not None and k != 3]
    if len({len(shape) for shape in shapes}) > 1:
        return f"shapes {', '.join(str(list(shape)) for shape in shapes)}"
    image, offsets = given.inputs[0], given.inputs[2]
    if image is None or offsets is None or image[0] == offsets[0]:
        return ""
    return f"offsets {list(offsets)} for images {list(image)}"


def _scale_misfit(given: Operands) -> str:
    """Scale and bias are repeated along what they scale."""
    x = given.inputs[0]
    for shape in given.inputs[1:]:
        if x is not None and shape is not None and not _repeats(shape, x):
            return f"a scale or bias {list(shape)} for {list(x)}"
    return ""


def _channel_scale_misfit(given: Operands) -> str:
    """Scale and bias have one number for each channel."""
    x = given.inputs[0]
    return "" if x is None or len(x) < 2 else _channels_misfit(given.inputs[1:], x[1])


def _addend_misfit(given: Operands) -> str:
    """What a Gemm adds is repeated along the product."""
    addend, product = [*given.inputs, None][2], given.outputs[0]
    if addend is None or product is None or _repeats(addend, product):
        return ""
    return f"{list(addend)} is added to {list(product)}"


def _linear_misfit(given: Operands) -> str:
    """One scale, one for each index of the axis, or one for each block of it."""
    x, scales = given.inputs[:2]
    axis = given.node.attributes.get_int("axis", 1)
    block = given.node.attributes.get_int("block_size", 0)
    if x is None or scales is None or math.prod(scales) == 1:
        return _zero_points_misfit(given, 1)
    if not -len(x) <= axis < len(x):
        return f"axis {axis} of {len(x)} dimensions"
    blocked = list(x)
    blocked[axis] = -(-x[axis] // block) if block > 0 else x[axis]
    if list(scales) != (blocked if block > 0 else [x[axis]]):
        return f"scales {list(scales)} for {list(x)}"
    return _zero_points_misfit(given, 1)


_Ranks = dict[int, tuple[int, ...]]
_LIST: _Ranks = {1: (1,)}
_CELL: _Ranks = {0: (3,), 1: (3,), 2: (3,), 3: (2,)}
#: Operator -> index of an input -> how many dimensions it may have.
RANKS: dict[str, _Ranks] = {
    **dict.fromkeys(("Expand", "Reshape", "Squeeze", "Tile"), _LIST),
    **{
        f"Reduce{kind}": _LIST
        for kind in (
            "L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare",
        )
    },
    **dict.fromkeys(("GRU", "LSTM", "RNN"), _CELL),
    "AffineGrid": {0: (3,)},
    "DeformConv": {3: (1,)},
    "InstanceNormalization": {1: (1,), 2: (1,)},
    "NonMaxSuppression": {0: (3,), 1: (3,)},
    "Slice": {1: (1,), 2: (1,), 3: (1,), 4: (1,)},
    "Unsqueeze": {1: (0, 1)},
}  # fmt: skip


def misfit(given: Operands) -> str:
    """What does not fit in a node of the standard domain, or ""."""
    for index, ranks in RANKS.get(given.node.op_type, {}).items():
        shape = given.inputs[index] if index < len(given.inputs) else None
        if shape is not None and len(shape) not in ranks:
            return f"input {index} has {len(shape)} dimensions: {list(shape)}"
    check = MISFITS.get(given.node.op_type)
    return check(given) if check is not None else ""


#: Operator -> function that says what does not fit, or "".
MISFITS: dict[str, Callable[[Operands], str]] = {
    "AffineGrid": _grid_misfit,
    "Col2Im": _col2im_misfit,
    "Conv": _convolution_misfit,
    "ConvTranspose": _convolution_misfit,
    "CumProd": _axis_misfit,
    "CumSum": _axis_misfit,
    "DeformConv": _offsets_misfit,
    "DequantizeLinear": _linear_misfit,
    "GRU": _recurrent_misfit,
    "GatherElements": _gathered_misfit,
    "Gemm": _addend_misfit,
    "GroupNormalization": _channel_scale_misfit,
    "InstanceNormalization": _channel_scale_misfit,
    "LSTM": _recurrent_misfit,
    "LayerNormalization": _scale_misfit,
    "MaxUnpool": _unpool_misfit,
    "NonMaxSuppression": _boxes_misfit,
    "PRelu": _slope_misfit,
    "QLinearConv": _quantized_convolution_misfit,
    "QLinearMatMul": _quantized_product_misfit,
    "QuantizeLinear": _linear_misfit,
    "RMSNormalization": _scale_misfit,
    "RNN": _recurrent_misfit,
    "Reshape": _reshape_misfit,
    "RotaryEmbedding": _caches_misfit,
    "Split": _split_misfit,
}

#: Operators that anything is known about.
CHECKED = frozenset(RANKS) | frozenset(MISFITS)
