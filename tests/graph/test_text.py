import numpy as np
import onnx
import onnx_ir as ir
from helpers.graphs import Graph, normal

from edgecomp.graph.text import to_text


def test_weights_are_left_out(rng, golden):
    g = Graph()
    y = g("Conv", g.input("x", (1, 3, 8, 8)), normal(rng, 4, 3, 3, 3), strides=[2, 2], group=1)
    model = g.model(g("Reshape", y, g.constant(np.array([1, -1]))))
    before = onnx.ModelProto.FromString(ir.to_proto(model).SerializeToString())
    golden(to_text(model, sources=True))
    assert ir.to_proto(model) == before
