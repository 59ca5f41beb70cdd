"""Inputs that are fixed at build time."""

import numpy as np
import onnx.parser
import pytest

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.load import load_model

TEXT = """<ir_version: 10, opset_import: ["" : 21]>
g (float[2, 6] x, int64[n] shape) => (float[a, b] y) { y = Reshape(x, shape) }"""


def load(**constants):
    return load_model(onnx.parser.parse_model(TEXT), constants=constants)


def test_a_bound_input_is_gone_and_decides_the_shape():
    model = load(shape=np.array([4, 3], np.int64))
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert list(model.graph.outputs[0].shape) == [4, 3]


def test_an_unknown_name_is_refused():
    with pytest.raises(EdgecompError) as caught:
        load(shap=np.array([4, 3], np.int64))
    assert caught.value.code is Code.USAGE
    assert "shape" in caught.value.hint


@pytest.mark.parametrize("array", [np.array([4, 3], np.int32), np.array([[4, 3]], np.int64)])
def test_contents_that_the_input_cannot_have_are_refused(array):
    with pytest.raises(EdgecompError) as caught:
        load(shape=array)
    assert caught.value.code is Code.SHAPE_CONFLICT
