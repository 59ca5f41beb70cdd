"""Replace the product of one-hot rows and a constant matrix by taking rows of the matrix.

    MatMul(OneHot(i, depth, values=[0, 1]), W [depth, N])
        =>   Gather([W; 0], Min(Max(i, -1), depth))

and Gemm with a bias, whose rows get the bias. By the time of this pass OneHot is its definition,
``Where(Equal(i, 0 .. depth - 1), 1, 0)`` with negative indices moved up by ``depth``; the same
comparison written by hand, cast to a number, counts too. An index out of range matches nowhere:
its row of the product is zero. Seldom can it be proved that there is none, so the indices are
bounded to ``-1 .. depth``, both of which (-1 from the end) take the row of zeros behind the matrix.
That is two operations on each index, where the product has ``depth * N``.

Exact: of the sums all terms but one are zero. Refused where the matrix or the bias holds infinities
or NaN, which zeros do not take away. It does not apply where the ones do not stand along the last
dimension, where the matrix is computed, or where shapes depend on a count.
"""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array, new_initializer, scalar
from edgecomp.graph.counts import open_values
from edgecomp.graph.edit import new_node, remove_unused, replace_node
from edgecomp.graph.match import is_operator, producer, split_constant
from edgecomp.graph.shapes import static_shape
from edgecomp.passes.canonicalize_products import is_canonical_gemm
from edgecomp.passes.outcome import Numerics, Outcome, Refusal, finish, refuse

_INDEX_TYPES = (ir.DataType.INT32, ir.DataType.INT64)


class ReplaceOneHotProductsPass(ir.passes.InPlacePass):
    """Replace products of one-hot rows, MatMul and canonical Gemm, by Gather.

    Scope: main graph.  Numerics: exact.
    """

    numerics = Numerics.EXACT

    def call(self, model: ir.Model) -> Outcome:
        """Replace every such product."""
        applied, open_ones = 0, open_values(model)
        refusals: list[Refusal] = []
        for node in list(model.graph):
            if not (is_operator(node, "MatMul") or is_canonical_gemm(node)):
                continue
            indices = _indices(node)
            if indices is None or open_ones.reads(node):
                continue
            rows = _rows(node)
            if not np.isfinite(rows).all():
                refusals.append(refuse(node, "a one-hot product with what is not finite"))
                continue
            _replace(node, indices, rows)
            applied += 1
        if applied:
            remove_unused(model)
        return finish(type(self).__name__, model, applied, refusals)


def _indices(node: ir.Node) -> ir.Value | None:
    """Indices [.., 1] whose one-hot rows a node multiplies with a constant matrix."""
    matrix, rows = constant_array(node.inputs[1]), static_shape(node.inputs[0])
    if matrix is None or matrix.ndim != 2 or matrix.dtype.kind != "f" or not rows:
        return None
    equal = producer(_condition(node.inputs[0]), "Equal")
    compared = split_constant(equal) if equal is not None else None
    if compared is None:
        return None
    indices, numbers, _ = compared
    if indices.dtype not in _INDEX_TYPES or static_shape(indices) != (*rows[:-1], 1):
        return None
    # Numbers of one row, which broadcast to no further dimension: those of the indices are all.
    if numbers.ndim > len(rows) or not np.array_equal(numbers.ravel(), np.arange(rows[-1])):
        return None
    return indices if numbers.shape[-1:] == rows[-1:] else None


def _condition(value: ir.Value | None) -> ir.Value | None:
    """What is true where the value is 1 and false where it is 0."""
    while (cast := producer(value, "Cast")) is not None:
        value = cast.inputs[0]
    where = producer(value, "Where")
    if where is not None and [scalar(number) for number in where.inputs[1:]] == [1, 0]:
        return where.inputs[0]
    return value if value is not None and value.dtype == ir.DataType.BOOL else None


def _rows(node: ir.Node) -> AnyArray:
    """What the product gives for every index, then for one that is out of range."""
    matrix = constant_array(node.inputs[1])
    assert matrix is not None
    bias = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    rows = np.concatenate([matrix, np.zeros((1, matrix.shape[1]), matrix.dtype)])
    return rows if bias is None else rows + bias.astype(rows.dtype)


def _replace(node: ir.Node, indices: ir.Value, rows: AnyArray) -> None:
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    dtype = indices.dtype
    assert dtype is not None
    name, value = node.outputs[0].name, _without_last(node, indices)
    for operator, word, bound in (("Max", "least", -1), ("Min", "most", len(rows) - 1)):
        limit = new_initializer(graph, f"{name}_{word}", np.array(bound, dtype.numpy()))
        bounded = new_node(graph, operator, [value, limit], like=node)
        bounded.name = f"{node.name}_{operator.lower()}"
        bounded.outputs[0].shape, bounded.outputs[0].type = value.shape, indices.type
        node.prepend(bounded)
        value = bounded.outputs[0]
    table = new_initializer(graph, f"{name}_rows", rows)
    gather = new_node(graph, "Gather", [table, value], like=node, attributes={"axis": 0})
    replace_node(node, gather)


def _without_last(node: ir.Node, indices: ir.Value) -> ir.Value:
    """The indices without their last dimension, of one element; in front of ``node``."""
    shape = static_shape(indices)
    graph = node.graph
    assert shape is not None
    assert isinstance(graph, ir.Graph)
    before = producer(indices, "Unsqueeze", "Reshape")
    if before is not None and static_shape(before.inputs[0]) == shape[:-1]:
        assert before.inputs[0] is not None
        return before.inputs[0]
    axes = new_initializer(graph, f"{indices.name}_axes", np.array([-1], np.int64))
    squeeze = new_node(graph, "Squeeze", [indices, axes], like=node)
    squeeze.name = f"{node.name}_indices"
    squeeze.outputs[0].shape, squeeze.outputs[0].type = ir.Shape(shape[:-1]), indices.type
    node.prepend(squeeze)
    return squeeze.outputs[0]
