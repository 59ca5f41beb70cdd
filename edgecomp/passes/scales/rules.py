"""How the scale of a channel goes through an operator, from whichever side it is met.

An operator lets a positive scale per channel through when it is homogeneous: Relu, LeakyRelu,
PRelu, pools, pads with zero, moves, sums with something that is scaled alike. Clip is not: its
bound is one number for all channels. Neither are Gelu, Sigmoid and Softmax.
"""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import constant_array
from edgecomp.graph.match import RENAMES, normalized_axes, split_constant
from edgecomp.graph.shapes import static_shape
from edgecomp.passes.channel_scale import output_channels
from edgecomp.passes.scales.region import Ids, Place, Region, along, spread

#: A rule states the channels of a node's other values; "" or why the scale cannot go through.
#: ``index`` is the input through which the node was met, None for its output.
Rule = Callable[[Region, ir.Node, int | None, Ids], str]

NORMALISATIONS = ("LayerNormalization",)
_SAME = ("Relu", "LeakyRelu", "PRelu", "Identity", "Neg", "Abs")
_POOLS = ("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool")
_REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2")


def start_region(node: ir.Node) -> Region | None:
    """A region with the output channels of a node that can take a scale; None for others."""
    shape = static_shape(node.outputs[0]) if node.outputs else None
    axis = _source_axis(node)
    if axis is None or not shape or source_refusal(node):
        return None
    region = Region(node, shape[axis])
    form = [1] * len(shape)
    form[axis] = shape[axis]
    region.put(node.outputs[0], np.arange(shape[axis]).reshape(form))
    while (value := region.next_value()) is not None:
        _visit_neighbours(region, value)
    return region


def _visit_neighbours(region: Region, value: ir.Value) -> None:
    ids = region.values[value]
    producer = value.producer()
    if producer is None:
        region.pin(ids, f"{value.name} is no result of the model's layers")
    else:
        _visit(region, producer, None, value)
    if value.is_graph_output():
        region.pin(ids, f"{value.name} is an output of the model")
    for use in value.uses():
        if use.node.graph is not value.graph:
            region.pin(ids, "a branch or a loop reads it")
        else:
            _visit(region, use.node, use.idx, value)


def _visit(region: Region, node: ir.Node, index: int | None, value: ir.Value) -> None:
    if not region.enter(node, index, value):
        return
    ids = region.values[value]
    rule = _RULES.get(node.op_type) if node.domain == "" else None
    reason = f"{node.op_type} is not homogeneous" if rule is None else ""
    if rule is not None:
        reason = rule(region, node, index, ids)
    if reason:
        region.pin(ids, f"{node.name}: {reason}")


def _source_axis(node: ir.Node) -> int | None:
    """Axis of the output channels of a source."""
    if node.domain != "":
        return None
    if node.op_type == "Conv":
        return 1
    if node.op_type in ("Gemm", "MatMul", *NORMALISATIONS):
        return -1
    if node.op_type == "Mul" and _factor(node) is not None:
        return -1
    return None


def source_refusal(node: ir.Node) -> str:
    """Why the constants of a node cannot take a scale, "" where they can."""
    if node.op_type in NORMALISATIONS:
        shape = static_shape(node.inputs[0])
        if shape is None or node.attributes.get_int("axis", -1) % len(shape) != len(shape) - 1:
            return "it normalises several dimensions"
        arrays = [constant_array(value) for value in node.inputs[1:]]
        fit = all(array is not None and array.shape == shape[-1:] for array in arrays)
        return "" if fit else "its scale is not one constant per channel"
    if node.op_type == "Mul":
        return ""
    weight = constant_array(node.inputs[1])
    if weight is None or weight.dtype != np.float32 or not np.isfinite(weight).all():
        return "its weights are not finite float32 constants"
    if len(list(node.inputs[1].uses())) > 1:  # type: ignore[union-attr]
        return "another node reads its weights too"
    if node.op_type == "MatMul":
        return "" if weight.ndim == 2 else "its weights are no matrix"
    if output_channels(node) is None:
        return "its weights, bias or factors are not those of a plain product"
    return ""


def _factor(node: ir.Node) -> int | None:
    """Which input of a Mul is a constant row along the last dimension."""
    found, shape = split_constant(node), static_shape(node.outputs[0])
    if found is None or not shape or shape[-1] == 1:
        return None
    _, array, index = found
    row = array.dtype == np.float32 and array.shape[-1:] == shape[-1:]
    return index if row and array.size == shape[-1] else None


def _product(region: Region, node: ir.Node, index: int | None, ids: Ids) -> str:
    if node.op_type == "MatMul" and constant_array(node.inputs[1]) is None:
        return _computed_product(region, node, index, ids)
    reason = source_refusal(node)
    if reason:
        return reason
    return _source(region, node, ids) if index is None else _reader(region, node, index, ids)


def _source(region: Region, node: ir.Node, ids: Ids) -> str:
    axis, shape = _source_axis(node), static_shape(node.outputs[0])
    assert axis is not None
    assert shape is not None
    row = along(ids, axis, shape[axis])
    if row is None:
        return "its channels are split where they are read"
    region.sources.append(Place(node, row))
    return ""


def _reader(region: Region, node: ir.Node, index: int, ids: Ids) -> str:
    shape, axis = static_shape(node.inputs[0]), 1 if node.op_type == "Conv" else -1
    if index != 0 or shape is None:
        return "it reads the channels as weights or bias"
    row = along(ids, axis, shape[axis])
    if row is None:
        return "it reads the channels in several dimensions"
    region.readers.append(Place(node, row))
    return ""


def _computed_product(region: Region, node: ir.Node, index: int | None, ids: Ids) -> str:
    """Attention's product of weights with values: channels of the right operand go through."""
    right, result = node.inputs[1], node.outputs[0]
    shape, batch = static_shape(right), static_shape(result)
    if index == 0 or shape is None or batch is None:
        return "a product of two computed values sums over its channels"
    if len(shape) != len(batch) or ids.ndim != len(shape) or ids.shape[-2] != 1:
        return "a product of two computed values sums over its channels"
    if any(n not in (1, m) for n, m in zip(ids.shape[:-2], shape[:-2], strict=True)):
        return "its channels are repeated for several heads"
    region.put(right, ids)
    region.put(result, ids)
    return ""


def _normalisation(region: Region, node: ir.Node, index: int | None, ids: Ids) -> str:
    if index is not None:
        return "a normalisation reads all channels together"
    return source_refusal(node) or _source(region, node, ids)


def _same(region: Region, node: ir.Node, index: int | None, ids: Ids) -> str:
    if index not in (None, 0):
        return "it reads the channels as slopes"
    region.put(node.inputs[0], ids)
    region.put(node.outputs[0], ids)
    return ""


def _pool(region: Region, node: ir.Node, index: int | None, ids: Ids) -> str:
    if any(n != 1 for n in ids.shape[2:]):
        return "its channels lie in the pooled dimensions"
    if any(value.uses() for value in node.outputs[1:]):
        return "indices of its maxima are read"
    return _same(region, node, index, ids)


def _reduction(region: Region, node: ir.Node, index: int | None, ids: Ids) -> str:
    shape = static_shape(node.inputs[0])
    axes = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
    if shape is None or axes is None or axes.size == 0 or index not in (None, 0):
        return "it reduces over unknown dimensions"
    reduced = normalized_axes(axes, len(shape))
    kept = node.attributes.get_int("keepdims", 1) != 0
    before = np.expand_dims(ids, tuple(reduced)) if index is None and not kept else ids
    if any(before.shape[axis] != 1 for axis in reduced):
        return "it reduces over the channels"
    region.put(node.inputs[0], before)
    region.put(node.outputs[0], before if kept else before.squeeze(tuple(reduced)))
    return ""


def _pad(region: Region, node: ir.Node, index: int | None, ids: Ids) -> str:
    pads = constant_array(node.inputs[1])
    if pads is None or (pads < 0).any():
        return "it cuts off elements"
    mode = node.attributes.get_string("mode", "constant")
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if mode == "constant" and given is not None:
        number = constant_array(given)
        if number is None or np.any(number):
            return "it pads with another number than 0"
    return _other_dimensions(region, node, index, ids)


def _resize(region: Region, node: ir.Node, index: int | None, ids: Ids) -> str:
    crop = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    if crop == "tf_crop_and_resize":
        return "it fills in a number"
    return _other_dimensions(region, node, index, ids)


def _other_dimensions(region: Region, node: ir.Node, index: int | None, ids: Ids) -> str:
    """Operators that keep the order of the channels and change other dimensions."""
    before, after = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    if before is None or after is None or len({len(before), len(after), ids.ndim}) > 1:
        return "its shapes are not known"
    if any(n != 1 and m != k for n, m, k in zip(ids.shape, before, after, strict=True)):
        return "it changes the number of channels"
    return _same(region, node, index, ids)


def _transpose(region: Region, node: ir.Node, index: int | None, ids: Ids) -> str:
    default = tuple(reversed(range(ids.ndim)))
    order = tuple(node.attributes.get_ints("perm", default))
    other = ids.transpose(np.argsort(order)) if index is None else ids.transpose(order)
    region.put(node.inputs[0], other if index is None else ids)
    region.put(node.outputs[0], ids if index is None else other)
    return ""


def _reshape(region: Region, node: ir.Node, index: int | None, ids: Ids) -> str:
    if index not in (None, 0):
        return "it reads the channels as a shape"
    ends: list[ir.Value | None] = [node.inputs[0], node.outputs[0]]
    known, other = reversed(ends) if index is None else ends
    shape = static_shape(other)
    assert known is not None
    full = spread(ids, known)
    if shape is None or full is None:
        return "it reshapes a value that is too large"
    region.put(other, full.reshape(shape))
    return ""


def _split(region: Region, node: ir.Node, index: int | None, ids: Ids) -> str:
    if index is None:
        return "other channels are split off"
    shape = static_shape(node.inputs[0])
    assert shape is not None
    axis = node.attributes.get_int("axis", 0) % len(shape)
    begin = 0
    for value in node.outputs:
        extent = (static_shape(value) or shape)[axis]
        whole = ids.shape[axis] == 1
        region.put(value, ids if whole else ids.take(range(begin, begin + extent), axis))
        begin += extent
    return ""


def _concat(region: Region, node: ir.Node, index: int | None, ids: Ids) -> str:
    if index is None:
        return "it joins channels with others"
    shapes = [static_shape(value) for value in node.inputs]
    if any(shape is None for shape in shapes):
        return "its shapes are not known"
    axis = node.attributes["axis"].as_int() % ids.ndim
    parts = []
    for position, shape in enumerate(shapes):
        assert shape is not None
        form = [*ids.shape]
        form[axis] = shape[axis]
        mine = position == index
        parts.append(np.broadcast_to(ids if mine else np.int64(-1), form))
    region.put(node.outputs[0], np.concatenate(parts, axis))
    return ""


def _sum(region: Region, node: ir.Node, index: int | None, ids: Ids) -> str:
    result = static_shape(node.outputs[0])
    if result is None or len(node.inputs) != 2:
        return "its shapes are not known"
    known = node.outputs[0] if index is None else node.inputs[index]
    if static_shape(known) != result:
        return "its operand is spread over several channels"
    constant = split_constant(node)
    if constant is not None:
        value, array, at = constant
        if array.dtype != np.float32 or not _varies_like(array.shape, ids):
            return "one number is added to several channels"
        if not any(place.node is node for place in region.constants):
            region.constants.append(Place(node, ids, at))
        if static_shape(value) != result:
            return "its operand is spread over several channels"
        region.put(value, ids)
    else:
        if any(static_shape(operand) != result for operand in node.inputs):
            return "its operands have different shapes"
        for operand in node.inputs:
            region.put(operand, ids)
    region.put(node.outputs[0], ids)
    return ""


def _varies_like(shape: tuple[int, ...], ids: Ids) -> bool:
    """Whether a constant has a number of its own for every channel it meets."""
    aligned = (1,) * (ids.ndim - len(shape)) + tuple(shape)
    return all(n == 1 or m > 1 for n, m in zip(ids.shape, aligned, strict=True))


def _factors(region: Region, node: ir.Node, index: int | None, ids: Ids) -> str:
    """A product of two values takes the scale of one of them."""
    result = static_shape(node.outputs[0])
    if index is None:
        if node.op_type == "Mul" and _factor(node) is not None:
            return _source(region, node, ids)
        found = split_constant(node)
        if found is None or (node.op_type == "Div" and found[2] == 0):
            return "its factors are both computed"
        if static_shape(found[0]) != result:
            return "its operand is spread over several channels"
        region.put(found[0], ids)
        return ""
    other = node.inputs[1 - index]
    if other in region.values or (node.op_type == "Div" and index == 1):
        if other in region.values:
            region.pin(region.values[other], "")
        return f"{node.op_type} of scaled values is not homogeneous"
    if static_shape(node.inputs[index]) != result:
        return "its operand is spread over several channels"
    region.put(node.outputs[0], ids)
    return ""


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("Conv", "Gemm", "MatMul"), _product),
    **dict.fromkeys(NORMALISATIONS, _normalisation),
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(_POOLS, _pool),
    **dict.fromkeys(_REDUCTIONS, _reduction),
    **dict.fromkeys(RENAMES, _reshape),
    **dict.fromkeys(("Add", "Sub"), _sum),
    **dict.fromkeys(("Mul", "Div"), _factors),
    "Pad": _pad,
    "Resize": _resize,
    "Transpose": _transpose,
    "Split": _split,
    "Concat": _concat,
}
