"""Operators whose results have as many elements as the data decides."""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.counts import class_boxes, counted_dimension, sliced_axis
from edgecomp.lower.operators import movement
from edgecomp.lower.reader import (
    Reader,
    attribute_int,
    constant_input,
    normalize_axis,
    optional_input,
    static_type,
)
from edgecomp.plan.counting import (
    GivenCount,
    NonMaxSuppression,
    NonZero,
    Progression,
    SliceBetween,
    Unique,
)
from edgecomp.plan.reductions import TopK
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu.top_k import DTYPES as TOP_K_DTYPES

_UNBOUNDED = "its count has no bound"


def read_non_zero(reader: Reader, node: ir.Node) -> str:
    """NonZero."""
    counted = counted_dimension(node)
    if counted is None:
        return _UNBOUNDED
    x, output = reader.input(node, 0), reader.value(node.outputs[0])
    reader.emit(NonZero(counted.name), [x], [output, _count_of(reader, output)], [node])
    return ""


def read_non_max_suppression(reader: Reader, node: ir.Node) -> str:
    """NonMaxSuppression."""
    counted = counted_dimension(node)
    if counted is None:
        return _UNBOUNDED
    inputs = [reader.input(node, 0), reader.input(node, 1)]
    for index, dtype in ((2, "int64"), (3, "float32")):
        given = optional_input(node, index)
        if given is None:
            inputs.append(reader.new_constant(f"{node.name}.{index}", np.zeros(1, dtype)))
        else:
            inputs.append(reader.value(given))
    threshold = optional_input(node, 4)
    inputs += [reader.value(threshold)] if threshold is not None else []
    boxes = inputs[0].shape[1]
    kind = NonMaxSuppression(
        counted.name,
        min(class_boxes(node, boxes), counted.maximum),
        is_centered=bool(attribute_int(node, "center_point_box", 0)),
        has_threshold=threshold is not None,
    )
    output = reader.value(node.outputs[0])
    reader.emit(kind, inputs, [output, _count_of(reader, output)], [node])
    return ""


def read_unique(reader: Reader, node: ir.Node) -> str:
    """Unique; results that nobody asks for are written, too."""
    counted = counted_dimension(node)
    if counted is None:
        return _UNBOUNDED
    x, y = reader.input(node, 0), reader.value(node.outputs[0])
    axis = None
    if "axis" in node.attributes:
        axis = normalize_axis(attribute_int(node, "axis", 0), len(x.shape))
    count = y.shape[0 if axis is None else axis]
    size = x.elements if axis is None else x.shape[axis]
    outputs = [y]
    for index, extent in enumerate((count, size, count), start=1):
        source = node.outputs[index] if index < len(node.outputs) else None
        if source is not None and source.name:
            outputs.append(reader.value(source))
        else:
            outputs.append(reader.new_value(f"{y.name}.{index}", (extent,), "int64"))
    kind = Unique(counted.name, axis, bool(attribute_int(node, "sorted", 1)))
    reader.emit(kind, [x], [*outputs, _count_of(reader, y)], [node])
    return ""


def read_top_k(reader: Reader, node: ir.Node) -> str:
    """TopK; K of opset 9 and before is an attribute and needs no input."""
    x = reader.input(node, 0)
    if x.dtype not in TOP_K_DTYPES:
        return f"TopK of {x.dtype}"
    axis = normalize_axis(attribute_int(node, "axis", -1), len(x.shape))
    given = next(value for value in node.outputs if value.name)
    shape = static_type(given)[0]
    outputs = [
        reader.value(value)
        if value.name
        else reader.new_value(f"{given.name}.rest", shape, dtype)
        for value, dtype in zip(node.outputs, (x.dtype, "int64"), strict=False)
    ]
    if len(outputs) == 1:
        outputs.append(reader.new_value(f"{given.name}.indices", shape, "int64"))
    counted = counted_dimension(node)
    if counted is not None:
        count = _count_of(reader, outputs[0])
        reader.emit(GivenCount(counted.name), [reader.input(node, 1)], [count], [node])
    elif constant_input(node, 1) is None:
        return "K is computed at run time"
    kind = TopK(axis, bool(attribute_int(node, "largest", 1)))
    reader.emit(kind, [x], outputs, [node])
    return ""


def read_range(reader: Reader, node: ir.Node) -> str:
    """Range."""
    counted = counted_dimension(node)
    if counted is None:
        return _UNBOUNDED
    output = reader.value(node.outputs[0])
    inputs = [reader.input(node, index) for index in range(3)]
    reader.emit(Progression(counted.name), inputs, [output, _count_of(reader, output)], [node])
    return ""


def read_slice(reader: Reader, node: ir.Node) -> str:
    """Slice; one between constant indices is a copy."""
    counted, axis = counted_dimension(node), None
    if counted is not None:
        axis = sliced_axis(node)
    if counted is None or axis is None:
        return movement.read_slice(reader, node)
    steps = constant_input(node, 4)
    step = 1 if steps is None else int(steps.reshape(-1)[0])
    output = reader.value(node.outputs[0])
    inputs = [reader.input(node, index) for index in range(3)]
    kind = SliceBetween(counted.name, axis, step)
    reader.emit(kind, inputs, [output, _count_of(reader, output)], [node])
    return ""


def _count_of(reader: Reader, output: Value) -> Value:
    return reader.new_value(f"{output.name}.count", (), "int64")


TABLE = {
    "NonMaxSuppression": read_non_max_suppression,
    "NonZero": read_non_zero,
    "Range": read_range,
    "Slice": read_slice,
    "TopK": read_top_k,
    "Unique": read_unique,
}
