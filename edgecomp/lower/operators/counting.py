"""Operators whose results have as many elements as the data decides."""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.counts import class_boxes, counted_dimension
from edgecomp.lower.reader import Reader, attribute_int, optional_input
from edgecomp.plan.operations import NonMaxSuppression, NonZero
from edgecomp.plan.values import Value

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
    defaults = {2: np.array([0], np.int64), 3: np.array([0], np.float32)}
    for index, default in defaults.items():
        given = optional_input(node, index)
        if given is None:
            inputs.append(reader.new_constant(f"{node.name}.{index}", default))
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


def _count_of(reader: Reader, output: Value) -> Value:
    return reader.new_value(f"{output.name}.count", (), "int64")


TABLE = {
    "NonMaxSuppression": read_non_max_suppression,
    "NonZero": read_non_zero,
}
