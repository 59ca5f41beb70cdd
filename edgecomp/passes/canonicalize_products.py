"""One form for every product with a constant matrix.

    2-D:   Gemm(x, W [K, N], b [N]), alpha = beta = 1, transA = transB = 0
    > 2-D: MatMul(x, W [K, N]), then Add(.., b [N]) where there is a bias

The algebra: ``alpha * A' B' + beta * C`` with constant B and C is ``A (alpha B'^T) + beta C``.
What is not of these forms becomes it, or is taken apart into operators that are:

* Gemm whose C varies by row or is computed: Gemm without C, then Add;
* Gemm with transA: Transpose, then Gemm;
* Gemm without a constant B: Transpose, MatMul, Mul, Add as needed;
* MatMul of a 2-D value: Gemm, and the constant Add behind it becomes C;
* MatMul by a constant with leading dimensions of 1: the same with a 2-D constant;
* Add(b, MatMul): Add(MatMul, b), b as [N].

Left alone: MatMul of two computed values, of a 1-D value, of a constant on the left.
"""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array, new_initializer
from edgecomp.graph.edit import (
    insert_behind,
    new_node,
    only_reader,
    replace_node,
    set_constant_input,
)
from edgecomp.graph.match import is_operator, producer
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.source import copy_source
from edgecomp.passes.outcome import Numerics, Outcome, finish


class CanonicalizeProductsPass(ir.passes.InPlacePass):
    """Bring Gemm, MatMul and their biases to one form.

    Scope: main graph.  Numerics: float-reassociated.
    """

    numerics = Numerics.REASSOCIATED

    def call(self, model: ir.Model) -> Outcome:
        """Rewrite every product that is not in the form yet."""
        applied = 0
        for node in list(model.graph):
            if node.graph is None:
                continue
            if is_operator(node, "Gemm"):
                applied += _rewrite_gemm(node)
            elif is_operator(node, "MatMul"):
                applied += _rewrite_matmul(node)
        for node in list(model.graph):
            if is_operator(node, "Add"):
                applied += _order_bias(node)
            elif is_operator(node, "Gemm"):
                applied += _absorb_bias(node)
        return finish(type(self).__name__, model, applied)


def is_canonical_gemm(node: ir.Node | None) -> bool:
    """Whether a node is Gemm(x, constant [K, N], constant [N] or nothing) without factors."""
    if node is None or not is_operator(node, "Gemm"):
        return False
    if constant_array(node.inputs[1]) is None or not _has_plain_attributes(node):
        return False
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is None:
        return True
    array = constant_array(bias)
    return array is not None and array.shape == (static_shape(node.inputs[1]) or ())[1:]


def _has_plain_attributes(node: ir.Node) -> bool:
    attributes = node.attributes
    return (
        attributes.get_float("alpha", 1.0) == 1.0
        and attributes.get_float("beta", 1.0) == 1.0
        and not attributes.get_int("transA", 0)
        and not attributes.get_int("transB", 0)
    )


def _rewrite_gemm(node: ir.Node) -> int:
    if is_canonical_gemm(node):
        return 0
    if node.outputs[0].dtype is None or not node.outputs[0].dtype.is_floating_point():
        return 0
    if constant_array(node.inputs[1]) is None:
        return _take_apart(node)
    _transpose_first(node)
    _fold_into_weight(node)
    _settle_bias(node)
    for name in ("alpha", "beta", "transA", "transB"):
        node.attributes.pop(name, None)
    return 1


def _transpose_first(node: ir.Node) -> None:
    if node.attributes.get_int("transA", 0):
        node.replace_input_with(0, _transposed(node, node.inputs[0]))


def _fold_into_weight(node: ir.Node) -> None:
    weight = constant_array(node.inputs[1])
    assert weight is not None
    alpha = node.attributes.get_float("alpha", 1.0)
    transposed = bool(node.attributes.get_int("transB", 0))
    if not transposed and alpha == 1.0:
        return
    matrix = weight.T if transposed else weight
    if alpha != 1.0:
        matrix = (matrix.astype(np.float64) * alpha).astype(weight.dtype)
    set_constant_input(node, 1, matrix)


def _settle_bias(node: ir.Node) -> None:
    """Constant C of one row becomes [N] times beta; any other C an Add behind."""
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is None:
        node.resize_inputs(2)
        return
    columns = (static_shape(node.inputs[1]) or (0, 0))[1]
    beta = node.attributes.get_float("beta", 1.0)
    array = constant_array(bias)
    if array is not None and (array.ndim < 2 or array.shape[0] == 1):
        row = np.broadcast_to(array.reshape(-1), (columns,))
        set_constant_input(node, 2, (row.astype(np.float64) * beta).astype(array.dtype))
        return
    node.resize_inputs(2)
    _add_behind(node, bias, beta)


def _add_behind(node: ir.Node, value: ir.Value, beta: float) -> None:
    """Insert ``+ beta * value`` behind a node; the sum takes over the node's output name."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    result = node.outputs[0]
    if beta != 1.0:
        factor = new_initializer(
            graph,
            f"{result.name}_beta",
            np.array(beta, result.dtype.numpy()),  # type: ignore[union-attr]
        )
        scale = new_node(graph, "Mul", [value, factor], like=node)
        scale.name = f"{node.name}_beta"
        scale.outputs[0].shape = value.shape
        node.prepend(scale)
        value = scale.outputs[0]
    insert_behind(node, "Add", value, name=f"{node.name}_add")


def _take_apart(node: ir.Node) -> int:
    """Gemm of two computed matrices: the batched product's schedules know MatMul."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    attributes = node.attributes
    first, second = node.inputs[0], node.inputs[1]
    if attributes.get_int("transA", 0):
        first = _transposed(node, first)
    if attributes.get_int("transB", 0):
        second = _transposed(node, second)
    alpha, beta = attributes.get_float("alpha", 1.0), attributes.get_float("beta", 1.0)
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    product = ir.node("MatMul", [first, second], name=node.name)
    replace_node(node, product)
    if bias is not None:
        _add_behind(product, bias, beta)
    if alpha != 1.0:
        _scale_behind(product, alpha)
    return 1


def _scale_behind(node: ir.Node, alpha: float) -> None:
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    result = node.outputs[0]
    assert result.dtype is not None
    factor = new_initializer(
        graph, f"{result.name}_alpha", np.array(alpha, result.dtype.numpy())
    )
    insert_behind(node, "Mul", factor, name=f"{node.name}_alpha")


def _transposed(node: ir.Node, value: ir.Value | None) -> ir.Value:
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    assert value is not None
    rows, columns = static_shape(value) or (0, 0)
    turn = new_node(graph, "Transpose", [value], like=node, attributes={"perm": [1, 0]})
    turn.name = f"{node.name}_{value.name}_transpose"
    turn.outputs[0].shape = ir.Shape((columns, rows))
    node.prepend(turn)
    return turn.outputs[0]


def _rewrite_matmul(node: ir.Node) -> int:
    shape, weight = static_shape(node.inputs[0]), constant_array(node.inputs[1])
    if shape is None or weight is None or len(shape) < 2:
        return 0
    changed = 0
    if weight.ndim > 2 and weight.ndim <= len(shape) and set(weight.shape[:-2]) == {1}:
        weight = weight.reshape(weight.shape[-2:])
        set_constant_input(node, 1, weight)
        changed = 1
    if len(shape) != 2 or weight.ndim != 2 or weight.dtype.kind != "f":
        return changed
    replace_node(node, ir.node("Gemm", list(node.inputs), name=node.name))
    return 1


def _absorb_bias(node: ir.Node) -> int:
    """Gemm without C, then Add of a constant row: the row becomes C."""
    if not is_canonical_gemm(node) or (len(node.inputs) > 2 and node.inputs[2] is not None):
        return 0
    total = only_reader(node.outputs[0])
    if total is None or not is_operator(total, "Add"):
        return 0
    at = 0 if total.inputs[0] is node.outputs[0] else 1
    row = _as_row(total.inputs[1 - at], node.outputs[0])
    if row is None or static_shape(total.outputs[0]) != static_shape(node.outputs[0]):
        return 0
    bias = total.inputs[1 - at]
    assert bias is not None
    fused = ir.node("Gemm", list(node.inputs[:2]), name=total.name)
    copy_source([node, total], fused)
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    replace_node(total, fused)
    graph.remove(node, safe=True)
    set_constant_input(fused, 2, row, name=bias.name or "")
    _drop_if_unused(bias)
    return 1


def _order_bias(node: ir.Node) -> int:
    """Add behind a product with a constant matrix: product first, bias [N] second."""
    for at in (0, 1):
        product = producer(node.inputs[at], "MatMul")
        if product is None or constant_array(product.inputs[1]) is None:
            continue
        row = _as_row(node.inputs[1 - at], product.outputs[0])
        if row is None or static_shape(node.outputs[0]) != static_shape(product.outputs[0]):
            return 0
        bias = node.inputs[1 - at]
        assert bias is not None
        if at == 0 and static_shape(bias) == row.shape:
            return 0
        node.replace_input_with(0, product.outputs[0])
        node.replace_input_with(1, bias)
        if static_shape(bias) != row.shape:
            set_constant_input(node, 1, row)
        return 1
    return 0


def _as_row(value: ir.Value | None, product: ir.Value) -> AnyArray | None:
    """A constant that is the same for every row of the product, as [N]."""
    array, shape = constant_array(value), static_shape(product)
    if array is None or not shape:
        return None
    columns = shape[-1]
    if array.size == 1 and array.ndim <= len(shape):
        return np.full((columns,), array.reshape(()), array.dtype)
    if array.ndim == 0 or array.shape[-1] != columns or array.size != columns:
        return None
    return array.reshape(-1) if array.ndim <= len(shape) else None


def _drop_if_unused(value: ir.Value) -> None:
    graph = value.graph
    if value.is_initializer() and not value.uses() and not value.is_graph_output():
        assert graph is not None
        graph.initializers.pop(value.name or "", None)
