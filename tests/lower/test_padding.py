"""Pad in all modes against onnx's reference evaluator."""

import hypothesis
import numpy as np
import pytest
from helpers.nodes import check, compiled, node_model
from hypothesis import strategies as st
from onnx import helper

DTYPES = ["float32", "float16", "bfloat16", "int8", "int64", "bool"]


@st.composite
def cases(draw):
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    mode = draw(st.sampled_from(["constant", "reflect", "edge", "wrap"]))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=2, unique=True))
    pads = [draw(st.integers(0, 4)) for _ in range(2 * len(axes))]
    for k, axis in enumerate(axes):
        if mode == "reflect" and shape[axis] == 1:  # nothing to reflect
            pads[k] = pads[k + len(axes)] = 0
    signs = draw(st.lists(st.booleans(), min_size=len(axes), max_size=len(axes)))
    axes = [a - len(shape) if negative else a for a, negative in zip(axes, signs, strict=True)]
    return shape, mode, axes, pads, draw(st.sampled_from(DTYPES))


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(cases())
def test_modes(case):
    shape, mode, axes, pads, dtype = case
    x = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    inputs = {"x": x, "pads": np.int64(pads)}
    fixed = ["pads"]
    inputs["value"] = np.array(7).astype(dtype) if mode == "constant" else None
    inputs["axes"] = np.int64(axes)
    model = node_model("Pad", inputs, fixed=[*fixed, "value", "axes"], mode=mode)
    check(model, inputs, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8"])
def test_value_computed_at_run_time(dtype):
    inputs = {
        "x": np.ones((2, 3), dtype),
        "pads": np.int64([1, 0, 0, 2]),
        "value": np.array(5).astype(dtype),
    }
    check(node_model("Pad", inputs, fixed=["pads"]), inputs)


def test_reflection_that_folds_several_times():
    inputs = {"x": np.float32([[1, 2, 3]]), "pads": np.int64([0, 7, 0, 8])}
    check(node_model("Pad", inputs, fixed=["pads"], mode="reflect"), inputs)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_negative_pads_crop(mode):
    """The reference evaluator has none; the result is a part of the input."""
    x = np.arange(20, dtype=np.float32).reshape(4, 5)
    inputs = {"x": x, "pads": np.int64([-1, 0, -1, -2])}
    (found,), _ = compiled(node_model("Pad", inputs, fixed=["pads"], mode=mode), inputs)
    np.testing.assert_array_equal(found, x[1:3, :3])


def test_many_dimensions_are_padded_one_by_one():
    """All combinations of runs would be 81 copies."""
    x = np.random.default_rng(1).standard_normal((3, 4, 5, 3)).astype(np.float32)
    inputs = {"x": x, "pads": np.int64([2, 1, 2, 1, 1, 3, 1, 2])}
    check(node_model("Pad", inputs, fixed=["pads"], mode="reflect"), inputs)


@pytest.mark.parametrize(
    "modes", [("reflect", "edge"), ("edge", "wrap"), ("wrap", "constant")]
)
def test_copies_of_what_was_padded(modes):
    """Copies reach through each other: two pads around a transposition."""
    x = np.random.default_rng(3).standard_normal((2, 3, 4)).astype(np.float32)
    inputs = {"x": x, "pads": np.int64([0, 1, 2, 1, 1, 1])}
    model = node_model("Pad", inputs, fixed=["pads"], mode=modes[0])
    model.graph.node.extend(
        [
            helper.make_node("Transpose", ["y0"], ["t"], perm=[2, 0, 1]),
            helper.make_node("Pad", ["t", "pads"], ["z"], mode=modes[1]),
        ]
    )
    model.graph.output[0].name = "z"
    check(model, inputs)


def test_images_keep_their_order():
    inputs = {
        "x": np.random.default_rng(2).standard_normal((1, 3, 6, 5)).astype(np.float32),
        "pads": np.int64([0, 0, 1, 2, 0, 0, 2, 1]),
    }
    check(node_model("Pad", inputs, fixed=["pads"], mode="reflect"), inputs)
