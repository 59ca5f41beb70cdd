"""Fused layer normalisations of com.microsoft against onnxruntime."""

import numpy as np
import pytest
from helpers.microsoft import check_vendor, vendor_model
from hypothesis import given
from hypothesis import strategies as st


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@given(
    batch=st.integers(1, 3),
    length=st.integers(1, 5),
    width=st.integers(1, 40),
    beta=st.booleans(),
    bias=st.booleans(),
    broadcast=st.sampled_from(["", "batch", "rank"]),
    total=st.booleans(),
)
def test_skip_layer_normalization(batch, length, width, beta, bias, broadcast, total):
    skip = {"": (batch, length, width), "batch": (1, length, width), "rank": (length, width)}
    inputs = {
        "x": random(batch, length, width),
        "skip": random(*skip[broadcast], seed=1),
        "gamma": random(width, seed=2),
        "beta": random(width, seed=3) if beta else None,
        "bias": random(width, seed=4) if bias else None,
    }
    outputs = ["y", "", "", "sum"] if total else 1
    model = vendor_model(
        "SkipLayerNormalization", inputs, fixed=["gamma", "beta", "bias"], outputs=outputs,
        epsilon=1e-5,
    )  # fmt: skip
    # The variance of few elements can be small: differences are then relative to 1 / epsilon.
    check_vendor(model, inputs, relative=2e-4)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("total", [False, True])
@pytest.mark.parametrize("width", [1, 17, 64])
def test_skip_simplified_layer_normalization(bias, total, width):
    inputs = {
        "x": random(2, 3, width),
        "skip": random(2, 3, width, seed=1),
        "gamma": random(width, seed=2),
        "bias": random(width, seed=4) if bias else None,
    }
    outputs = ["y", "", "", "sum"] if total else 1
    model = vendor_model(
        "SkipSimplifiedLayerNormalization", inputs, fixed=["gamma", "bias"], outputs=outputs,
        epsilon=1e-6,
    )  # fmt: skip
    check_vendor(model, inputs)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("axis", [-1, 1])
def test_simplified_layer_normalization(inverse, axis):
    shape = (2, 3, 20)
    inputs = {"x": random(*shape), "scale": random(*shape[axis:], seed=1)}
    model = vendor_model(
        "SimplifiedLayerNormalization", inputs, fixed=["scale"], domain="",
        outputs=2 if inverse else 1, axis=axis, epsilon=1e-6, stash_type=1,
    )  # fmt: skip
    check_vendor(model, inputs)


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("positions", [False, True])
def test_embed_layer_normalization(segments, mask, positions):
    rng = np.random.default_rng(0)
    batch, length, width = 2, 5, 24
    inputs = {
        "ids": rng.integers(0, 30, (batch, length)).astype(np.int32),
        "segments": rng.integers(0, 2, (batch, length)).astype(np.int32) if segments else None,
        "words": random(30, width),
        "places": random(16, width, seed=1),
        "kinds": random(2, width, seed=2) if segments else None,
        "gamma": random(width, seed=3),
        "beta": random(width, seed=4),
        "mask": rng.integers(0, 2, (batch, length)).astype(np.int32) if mask else None,
        "positions": rng.integers(0, 16, (batch, length)).astype(np.int32)
        if positions
        else None,
    }
    model = vendor_model(
        "EmbedLayerNormalization", inputs,
        fixed=["words", "places", "kinds", "gamma", "beta"],
        outputs=["y", "mask_index", "sum"], epsilon=1e-5,
    )  # fmt: skip
    check_vendor(model, inputs, relative=1e-4, scheduled=False)
