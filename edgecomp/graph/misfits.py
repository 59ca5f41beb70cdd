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
    return ""


def _axis_misfit(given: Operands) -> str:
    """An axis that is an input is one of the first input's."""
    axis, x = constant_array(given.node.inputs[1]), given.inputs[0]
    if axis is None or x is None:
        return ""
    rank = len(x)
    if all(-rank <= int(each) < rank for each in axis.ravel()):
        return ""
    return f"axis {axis.ravel().tolist()} of {rank} dimensions"


def _expand_misfit(given: Operands) -> str:
    """The wanted shape is a list."""
    shape = given.inputs[1]
    return "" if shape is None or len(shape) == 1 else f"a shape in {len(shape)} dimensions"


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


#: Operator -> function that says what does not fit, or "".
MISFITS: dict[str, Callable[[Operands], str]] = {
    "Col2Im": _col2im_misfit,
    "Conv": _convolution_misfit,
    "ConvTranspose": _convolution_misfit,
    "CumProd": _axis_misfit,
    "CumSum": _axis_misfit,
    "Expand": _expand_misfit,
    "GRU": _recurrent_misfit,
    "LSTM": _recurrent_misfit,
    "RNN": _recurrent_misfit,
    "Reshape": _reshape_misfit,
}
