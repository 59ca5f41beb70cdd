import numpy as np
import onnx
import onnx_ir as ir
from helpers.graphs import Graph
from helpers.passes import apply, operators

from edgecomp.graph.constants import constant_array
from edgecomp.graph.names import name_everything
from edgecomp.passes.fold_constants import FoldConstantsPass


def unfolded(g, *outputs):
    """The model before the front end's own folding."""
    model = ir.from_proto(g.proto(*outputs))
    name_everything(model)
    return model


def test_shape_arithmetic(rng):
    g = Graph()
    x = g.input("x", (2, 3, 4, 5))
    shape = g("Shape", x)
    batch = g("Gather", shape, np.array(0), axis=0)
    batch = g("Unsqueeze", batch, np.array([0]))
    rest = g("Mul", g("Gather", shape, np.array([1]), axis=0), np.array([20]))
    model = unfolded(g, g("Reshape", x, g("Concat", batch, rest, axis=0)))
    outcome = apply(FoldConstantsPass(), model)
    assert operators(model) == ["Reshape"]
    assert outcome.applied == 6
    np.testing.assert_array_equal(constant_array(model.graph[0].inputs[1]), [2, 60])


def test_range_constant_of_shape_where_and_split(rng):
    g = Graph()
    x = g.input("x", (1, 6))
    size = g("Size", x)
    line = g("Cast", g("Range", np.array(0), size, np.array(1)), to=onnx.TensorProto.FLOAT)
    fill = g("ConstantOfShape", g("Unsqueeze", size, np.array([0])))
    mixed = g("Where", g("Greater", line, np.float32(2)), line, fill)
    low, high = g("Split", mixed, axis=0, num_outputs=2, outputs=2)
    model = unfolded(g, g("Mul", g("Add", x, g("Concat", high, low, axis=0)), x))
    apply(FoldConstantsPass(), model)
    assert operators(model) == ["Add", "Mul"]


def test_the_branch_that_is_taken(rng):
    then = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["t"], "inner")],
        "then",
        [],
        [onnx.helper.make_tensor_value_info("t", 1, None)],
    )
    other = onnx.helper.make_graph(
        [onnx.helper.make_node("Neg", ["x"], ["e"], "inner")],
        "else",
        [],
        [onnx.helper.make_tensor_value_info("e", 1, None)],
    )
    g = Graph()
    x = g.input("x", (1, 6))
    big = g("Greater", g("Size", x), np.array(4))
    model = unfolded(g, g("Mul", g("If", big, then_branch=then, else_branch=other), x))
    apply(FoldConstantsPass(), model)
    assert operators(model) == ["Relu", "Identity", "Mul"]


def test_castlike_becomes_a_cast(rng):
    g = Graph()
    x, like = g.input("x", (1, 6), np.float16), g.input("like", (3,))
    model = unfolded(g, g("Add", g("CastLike", x, like), g("CastLike", np.int64(3), like)))
    apply(FoldConstantsPass(), model)
    assert operators(model) == ["Cast", "Add"]


def test_quantized_weights_random_and_big_results_stay(rng):
    g = Graph()
    x = g.input("x", (600, 600))
    weight = g("DequantizeLinear", np.arange(5, dtype=np.int8), np.float32(0.5))
    noise = g("RandomNormal", shape=[5])
    zeros = g("Expand", np.float32(1), np.array([600, 600]))
    total = g("Add", g("ReduceSum", g("Add", x, zeros)), weight)
    model = unfolded(g, total, noise)
    FoldConstantsPass()(model)
    assert operators(model) == [
        "DequantizeLinear",
        "RandomNormal",
        "Expand",
        "Add",
        "ReduceSum",
        "Add",
    ]
    assert not FoldConstantsPass()(model).modified


def test_a_large_weight_is_transposed_once_and_for_all(rng):
    """Moving a weight makes nothing bigger, however large it is."""
    g = Graph()
    x = g.input("x", (3, 4, 700))
    weight = rng.standard_normal((600, 700)).astype(np.float32)  # more than 1 MB
    model = unfolded(g, g("MatMul", x, g("Transpose", weight, perm=[1, 0])))
    apply(FoldConstantsPass(), model)
    assert operators(model) == ["MatMul"]
    np.testing.assert_array_equal(constant_array(model.graph[0].inputs[1]), weight.T)
