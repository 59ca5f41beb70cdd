"""Resize in all its modes against onnx's reference evaluator."""

import hypothesis
import numpy as np
import pytest
from helpers.nodes import check, node_model
from hypothesis import strategies as st

TRANSFORMS = [
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
]


@st.composite
def cases(draw):
    rank = draw(st.integers(1, 4))
    shape = draw(st.lists(st.integers(2, 7), min_size=rank, max_size=rank))
    sizes = draw(st.lists(st.integers(1, 9), min_size=rank, max_size=rank))
    mode = draw(st.sampled_from(["nearest", "linear", "cubic"]))
    attributes = {
        "mode": mode,
        "coordinate_transformation_mode": draw(st.sampled_from(TRANSFORMS)),
    }
    if mode == "nearest":
        kinds = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
        attributes["nearest_mode"] = draw(st.sampled_from(kinds))
    else:
        attributes["antialias"] = draw(st.integers(0, 1))
    if mode == "cubic":
        attributes["cubic_coeff_a"] = draw(st.sampled_from([-0.75, -0.5]))
        attributes["exclude_outside"] = draw(st.integers(0, 1))
    axes = draw(st.lists(st.integers(0, rank - 1), min_size=1, max_size=2, unique=True))
    return shape, sizes, axes, attributes


@hypothesis.settings(max_examples=50, deadline=None)
@hypothesis.given(cases())
def test_any_dimensions(case):
    shape, sizes, axes, attributes = case
    crop = attributes["coordinate_transformation_mode"] == "tf_crop_and_resize"
    # A crop that reaches past the end, and one element for which the way from 0 has no meaning.
    hypothesis.assume(not (crop and attributes.get("antialias")))
    hypothesis.assume(not (crop and 1 in [sizes[a] for a in axes]))
    inputs = {
        "x": np.random.default_rng(3).standard_normal(shape).astype(np.float32),
        "roi": np.float32([0.1] * len(axes) + [1.2] * len(axes)) if crop else None,
        "scales": None,
        "sizes": np.int64([sizes[a] for a in axes]),
    }
    model = node_model(
        "Resize",
        inputs,
        fixed=["roi", "sizes"],
        axes=axes,
        extrapolation_value=0.25,
        **attributes,
    )
    check(model, inputs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("scale", [0.4, 1.7])
def test_scales_that_give_no_whole_sizes(mode, scale):
    inputs = {
        "x": np.random.default_rng(4).standard_normal((1, 2, 7, 9)).astype(np.float32),
        "roi": None,
        "scales": np.float32([scale, 1.3]),
    }
    for antialias in (0, 1):
        model = node_model(
            "Resize", inputs, fixed=["scales"], axes=[2, 3], mode=mode, antialias=antialias
        )
        check(model, inputs, rtol=1e-4, atol=1e-5)


def test_halves_are_widened():
    inputs = {
        "x": np.random.default_rng(5).standard_normal((1, 2, 5, 4)).astype(np.float16),
        "roi": None,
        "scales": np.float32([1, 1, 2, 2]),
    }
    model = node_model("Resize", inputs, fixed=["scales"], mode="cubic")
    check(model, inputs, rtol=2e-3, atol=2e-3)
