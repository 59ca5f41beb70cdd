"""A small network and what it is calibrated on."""

import numpy as np
import onnx.parser
import pytest

MODEL = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[1, 32, 24, 24] x) => (float[1, 32, 24, 24] y)
<float[32, 32, 3, 3] w>
{
  c = Conv <pads = [1, 1, 1, 1]> (x, w)
  i = Identity (c)
  y = Relu (i)
}
"""


@pytest.fixture
def model(rng):
    proto = onnx.parser.parse_model(MODEL.replace("\n<float[32, 32, 3, 3] w>", ""))
    weights = rng.standard_normal((32, 32, 3, 3)).astype(np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    return proto


@pytest.fixture
def samples(rng):
    return [{"x": rng.standard_normal((1, 32, 24, 24)).astype(np.float32)} for _ in range(3)]
