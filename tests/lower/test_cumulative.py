"""CumSum and CumProd against onnx's reference evaluator."""

import hypothesis
import numpy as np
from helpers.nodes import check, compiled, node_model
from hypothesis import strategies as st


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(
    st.sampled_from([("CumSum", 14), ("CumProd", 26)]),
    st.lists(st.integers(0, 20), min_size=1, max_size=3),
    st.data(),
    st.sampled_from(["float32", "float64", "int32", "int64"]),
)
def test_all_forms(operator, shape, data, dtype):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    flags = {name: data.draw(st.integers(0, 1)) for name in ("exclusive", "reverse")}
    x = np.random.default_rng(0).uniform(0.5, 3, shape).astype(dtype)
    inputs = {"x": x, "axis": np.int64(axis)}
    name, opset = operator
    model = node_model(name, inputs, fixed=["axis"], opset=opset, **flags)
    check(model, inputs, rtol=1e-4)


def test_halves_are_summed_in_float32():
    x = np.full((1, 4096), 1.0, np.float16)
    inputs = {"x": x, "axis": np.int64(1)}
    # In float16 the sum would stay at 2048.
    (found,), fallbacks = compiled(node_model("CumSum", inputs, fixed=["axis"]), inputs)
    assert found[0, -1] == 4096
    assert not fallbacks
