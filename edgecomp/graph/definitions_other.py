"""Small operators without a kernel of their own."""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.body import Body
from edgecomp.graph.constants import constant_array
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.uses import is_used


def define_dropout(node: ir.Node) -> Body | None:
    """Outside of training everything passes, and the mask says so."""
    mask = node.outputs[1] if len(node.outputs) > 1 else None
    shape = static_shape(node.inputs[0])
    if mask is None or not is_used(mask) or shape is None:
        return None
    if len(node.inputs) > len(("data", "ratio")) and node.inputs[2] is not None:
        training = constant_array(node.inputs[2])
        if training is None or training.any():
            return None
    body = Body()
    body.add("Identity", "i0", to="y")
    body.add("Identity", body.constant(np.ones(shape, np.bool_)), to="y1")
    return body


#: Expanding a determinant by rows takes size! products.
_LARGEST_DETERMINANT = 4


def define_det(node: ir.Node) -> Body | None:
    """Determinants of small matrices, expanded by their first rows."""
    shape = static_shape(node.inputs[0])
    if shape is None or shape[-1] > _LARGEST_DETERMINANT:
        return None
    body = Body()
    size = shape[-1]
    rows = body.several("Split", ["i0"], size, axis=-2, num_outputs=size)
    elements = []
    for row in rows:
        flat = body.reshaped(row, (*shape[:-2], size))
        elements.append(body.several("Split", [flat], size, axis=-1, num_outputs=size))
    total = _determinant(body, elements, list(range(size)))
    body.reshaped(total, shape[:-2], to="y")
    return body


def _determinant(body: Body, rows: list[list[str]], columns: list[int]) -> str:
    """Of the rows' elements in these columns."""
    if len(columns) == 1:
        return rows[0][columns[0]]
    total = ""
    for k, column in enumerate(columns):
        minor = _determinant(body, rows[1:], columns[:k] + columns[k + 1 :])
        product = body.add("Mul", rows[0][column], minor)
        if not total:
            total = product
        else:
            total = body.add("Sub" if k % 2 else "Add", total, product)
    return total


def define_eye_like(node: ir.Node) -> Body | None:
    """A constant: only the shape of the input counts."""
    shape, dtype = static_shape(node.inputs[0]), node.outputs[0].dtype
    if shape is None or dtype is None:
        return None
    rows, columns = shape
    eye = np.eye(rows, columns, k=node.attributes.get_int("k", 0))
    body = Body()
    value = body.constant(eye.astype(dtype.numpy()))
    body.add("Identity", value, to="y")
    return body
