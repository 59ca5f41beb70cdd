"""Constants of 4 bits in front of integer products, with and without whole multiples of groups."""

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from edgecomp.graph.int4_casts import int4_weights, is_int4_multiply, is_int4_weight

NUMBERS = np.arange(-8, 8).reshape(8, 2).astype(ml_dtypes.int4)


def constant(array):
    tensor = ir.tensor(array)
    (value,) = ir.node("Constant", [], attributes={"value": tensor}).outputs
    value.type = ir.TensorType(tensor.dtype)
    return value


def product_of(*multiply, block=4, reader="MatMulInteger"):
    """(what multiplies, the Cast) in front of an integer product."""
    attributes = {"axis": 0, "block_size": block} if block else {"axis": 0}
    whole = ir.node(
        "DequantizeLinear",
        [constant(NUMBERS), *map(constant, multiply)],
        attributes=attributes,
    )
    cast = ir.node("Cast", whole.outputs, attributes={"to": ir.DataType.INT8.value})
    ir.node(reader, [ir.Value(name="q"), *cast.outputs])
    return whole, cast


def test_groups_are_multiplied():
    multiples = np.float32([[1, 15], [3, 2]])
    whole, cast = product_of(multiples)
    assert is_int4_weight(cast)
    assert is_int4_multiply(whole)
    wanted = NUMBERS.astype(np.int8) * multiples.repeat(4, axis=0).astype(np.int8)
    np.testing.assert_array_equal(int4_weights(cast.outputs[0]), wanted)


def test_a_cast_alone_keeps_the_numbers():
    cast = ir.node("Cast", [constant(NUMBERS)], attributes={"to": ir.DataType.INT8.value})
    ir.node("MatMulInteger", [ir.Value(name="q"), *cast.outputs])
    np.testing.assert_array_equal(int4_weights(cast.outputs[0]), NUMBERS.astype(np.int8))


@pytest.mark.parametrize(
    ("multiply", "settings"),
    [
        ([np.float32([[1, 1.5], [3, 2]])], {}),
        ([np.float32([[1, np.inf], [3, 2]])], {}),
        ([np.float32([[1, 1], [3, 40]])], {}),
        ([np.float32([[1, 1], [3, 2]]), np.zeros((2, 2), ml_dtypes.int4)], {}),
        ([np.float32([3, 2])], {"block": 0}),
        ([np.float32([[1, 1], [3, 2]])], {"reader": "MatMul"}),
    ],
    ids=["fractions", "infinite", "beyond int8", "zero points", "no blocks", "another reader"],
)
def test_anything_else_stays(multiply, settings):
    whole, cast = product_of(*multiply, **settings)
    assert not is_int4_weight(cast)
    assert not is_int4_multiply(whole)
    assert int4_weights(cast.outputs[0]) is None
