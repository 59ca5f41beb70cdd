"""Operators on float16 and bfloat16: computed in float32 between casts, near the real result."""

import numpy as np
import onnx
import pytest
from helpers.nodes import compiled, node_model, reference

TOLERANCE = {"float16": 2**-10, "bfloat16": 2**-7}


def near(model, inputs, dtype):
    """Both results are near the one of float32 arithmetic on the same numbers."""
    found, fallbacks = compiled(model, inputs)
    assert not fallbacks
    wide = {
        name: array.astype(np.float32) if array.dtype == dtype else array
        for name, array in inputs.items()
    }
    for got, want in zip(found, reference(node_of(model, wide), wide), strict=True):
        assert got.dtype == np.dtype(dtype)
        bound = TOLERANCE[dtype] * np.abs(want).max()
        np.testing.assert_allclose(got.astype(np.float32), want, rtol=0, atol=bound)


def node_of(model, wide):
    node = model.graph.node[0]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    inputs = {name: wide[name] for name in node.input}
    outputs = list(node.output)
    return node_model(node.op_type, inputs, outputs=outputs, **attributes)


def random(*shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("fixed", [(), ("b",)])
@pytest.mark.parametrize("shapes", [((3, 5), (5, 4)), ((5,), (5,)), ((2, 3, 5), (5,))])
def test_products(dtype, fixed, shapes):
    a, b = (random(*shape, dtype=dtype, seed=k) for k, shape in enumerate(shapes))
    inputs = {"a": a, "b": b}
    near(node_model("MatMul", inputs, fixed=list(fixed)), inputs, dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("Softmax", {"axis": 1}),
        ("GlobalAveragePool", {}),
        ("MaxPool", {"kernel_shape": [2, 2]}),
        ("AveragePool", {"kernel_shape": [2, 3], "pads": [0, 1, 0, 1]}),
        ("Sqrt", {}),
        ("Sigmoid", {}),
        ("Transpose", {"perm": [0, 2, 3, 1]}),
    ],
)
def test_one_input(dtype, operator, attributes):
    inputs = {"x": np.abs(random(1, 3, 4, 5, dtype=dtype))}
    near(node_model(operator, inputs, **attributes), inputs, dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_convolution(dtype):
    inputs = {
        "x": random(1, 3, 6, 5, dtype=dtype),
        "w": random(4, 3, 3, 3, dtype=dtype, seed=1),
        "b": random(4, dtype=dtype, seed=2),
    }
    near(node_model("Conv", inputs, fixed=["w", "b"]), inputs, dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_an_output_of_another_type_stays(dtype):
    x = random(4, 7, dtype=dtype)
    inputs = {"x": x, "k": np.int64([3])}
    model = node_model("TopK", inputs, fixed=["k"], outputs=["values", "indices"])
    (values, indices), _ = compiled(model, inputs)
    order = np.argsort(-x.astype(np.float32), axis=1, kind="stable")[:, :3]
    np.testing.assert_array_equal(indices, order)
    assert values.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(values, np.take_along_axis(x, order, 1))
