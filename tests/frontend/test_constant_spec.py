"""``--constant NAME=NUMBERS``."""

import ml_dtypes
import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.constant_spec import parse_constant_specs
from edgecomp.frontend.load import load_model


def array(text, dtype, shape):
    (spec,) = parse_constant_specs([text]).values()
    kind = ir.TensorType(ir.DataType.from_numpy(np.dtype(dtype)))
    return spec.array(ir.Value(name=spec.name, type=kind, shape=shape and ir.Shape(shape)))


@pytest.mark.parametrize(
    ("text", "dtype", "shape", "expected"),
    [
        ("sr=16000", "int64", [], 16000),
        ("a=b=2", "uint8", [1], [2]),
        ("x=0.5", "float32", [2, 2], [[0.5, 0.5], [0.5, 0.5]]),
        ("x=1,2,3,4", "float16", [2, 2], [[1, 2], [3, 4]]),
        ("shape=4,-1", "int64", ["n"], [4, -1]),
        ("flag=true", "bool", [], True),
        ("flag=False", "bool", [], False),
        ("big=9223372036854775807", "int64", [], 2**63 - 1),
        ("x=inf,-inf", "float32", [2], [np.inf, -np.inf]),
    ],
)
def test_contents(text, dtype, shape, expected):
    found = array(text, dtype, shape)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.array(expected, dtype))


@pytest.mark.parametrize(
    ("text", "dtype", "shape"),
    [
        ("x=1,2", "int64", [3]),
        ("x=0.5", "int64", []),
        ("x=300", "uint8", []),
        ("x=9", ml_dtypes.int4, []),
        ("x=inf", "int64", []),
        ("x=nan", "bool", []),
        ("x=2", "bool", []),
        ("x=1e19", "int64", []),
        ("x=" + "9" * 400, "float32", []),
        ("x=1", object, []),
    ],
)
def test_contents_that_do_not_fit(text, dtype, shape):
    with pytest.raises(EdgecompError) as error:
        array(text, dtype, shape)
    assert error.value.code is Code.SHAPE_CONFLICT


@pytest.mark.parametrize("texts", [["x"], ["=1"], ["x=one"], ["x="], ["x=1", "x=2"]])
def test_what_cannot_be_read(texts):
    with pytest.raises(EdgecompError) as error:
        parse_constant_specs(texts)
    assert error.value.code is Code.USAGE


def test_a_constant_decides_a_branch():
    text = """<ir_version: 10, opset_import: ["": 21]>
    g (int64 sr, float[3] x) => (float[3] y) <int64 k = {16000}> {
        c = Equal(sr, k)
        y = If (c) <
          then_branch = t () => (float[3] a) { a = Relu(x) },
          else_branch = e () => (float[3] b) { b = Exp(x) }
        >
    }"""
    for rate, operator in (("16000", "Relu"), ("8000", "Exp")):
        constants = parse_constant_specs([f"sr={rate}"])
        model = load_model(onnx.parser.parse_model(text), constants=constants)
        assert [v.name for v in model.graph.inputs] == ["x"]
        assert [node.op_type for node in model.graph] == [operator, "Identity"]
