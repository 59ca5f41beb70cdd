"""Models in 16 bits as models in float32 between their ports."""

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from helpers.graphs import Graph

from edgecomp.graph.run import run_model
from edgecomp.passes.widen_halves import WidenHalvesPass, half_type


def model_of(proto):
    return ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(proto))


def network(rng, kind=onnx.TensorProto.FLOAT16, dtype=np.float16):
    g = Graph()
    weight = rng.standard_normal((8, 8)).astype(dtype)
    x = g.input("x", (3, 8), dtype)
    wide = g("Cast", g("Relu", g("MatMul", x, weight)), to=onnx.TensorProto.FLOAT)
    back = g("Cast", g("Exp", g("Neg", wide)), to=kind)
    return g.proto(g("MatMul", back, weight))


def test_widened(rng):
    proto = network(rng)
    model = model_of(proto)
    assert half_type(model) == ir.DataType.FLOAT16
    assert WidenHalvesPass()(model).modified
    between = [v for node in model.graph for v in node.outputs if not v.is_graph_output()]
    assert {value.dtype for value in between} == {ir.DataType.FLOAT}
    assert [v.dtype for v in (*model.graph.inputs, *model.graph.outputs)] == [
        ir.DataType.FLOAT16
    ] * 2
    feeds = {"x": rng.standard_normal((3, 8)).astype(np.float16)}
    (found,) = run_model(model, feeds).values()
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    (want,) = session.run(None, feeds)
    assert found.dtype == np.float16
    assert [v.name for v in model.graph.outputs] == [o.name for o in session.get_outputs()]
    np.testing.assert_allclose(found.astype(float), want.astype(float), rtol=1e-2, atol=1e-2)


def test_twice_is_once(rng):
    model = model_of(network(rng))
    WidenHalvesPass()(model)
    assert not WidenHalvesPass()(model).modified


@pytest.mark.parametrize(
    ("kind", "dtype", "found"),
    [
        (onnx.TensorProto.BFLOAT16, ml_dtypes.bfloat16, ir.DataType.BFLOAT16),
        (onnx.TensorProto.FLOAT, np.float32, None),
    ],
)
def test_types(kind, dtype, found, rng):
    assert half_type(model_of(network(rng, kind, dtype))) == found
