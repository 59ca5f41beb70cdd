"""Inputs that a user names."""

import onnx_ir as ir
import pytest

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.graph_inputs import named_inputs


def test_a_name_that_no_input_has():
    values = [ir.val(name, ir.DataType.FLOAT, (1,)) for name in ("image", "mask")]
    model = ir.Model(ir.Graph(values, [], nodes=[], opset_imports={"": 21}), ir_version=10)
    assert named_inputs(model, ["mask"], "--input") == dict(
        zip(("image", "mask"), values, strict=True)
    )
    with pytest.raises(EdgecompError) as caught:
        named_inputs(model, ["mask", "imag"], "--input")
    assert caught.value.code is Code.USAGE
    assert caught.value.cause == "--input imag: the model has no such input"
    assert "image" in caught.value.hint
