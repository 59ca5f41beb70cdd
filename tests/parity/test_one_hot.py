"""One-hot rows times a matrix, from a file to kernels, for every index."""

import numpy as np
import onnx
import onnxruntime
from helpers.graphs import Graph, normal

from edgecomp import api
from edgecomp.options import BuildOptions


def test_a_bundle_takes_rows(rng, tmp_path):
    g = Graph()
    i = g.input("i", (3, 7), np.int64)
    x = g("OneHot", i, np.int64(9), np.array([0, 1]), axis=-1)
    rows = g("MatMul", g("Cast", x, to=onnx.TensorProto.FLOAT), normal(rng, 9, 20))
    proto = g.proto(g("Relu", g("Add", rows, normal(rng, 20))))
    bundle = api.build(proto, BuildOptions(output=tmp_path / "bundle"))
    operators = {call["operator"] for call in bundle.report["calls"]}
    assert "MatrixMultiply" not in operators
    assert "Gather" in operators
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    far = np.iinfo(np.int64)
    for feeds in (rng.integers(-9, 9, (3, 7)), np.array([9, -10, 0, -1, far.max, far.min, 8])):
        indices = np.broadcast_to(feeds, (3, 7)).astype(np.int64)
        (found,) = bundle.run({"i": indices}).values()
        np.testing.assert_array_equal(found, session.run(None, {"i": indices})[0])
