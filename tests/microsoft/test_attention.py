"""Attention of com.microsoft in its forms against onnxruntime."""

import itertools

import numpy as np
import pytest
from helpers.microsoft import check_definition, check_vendor, vendor_model
from helpers.nodes import feeds_of

from edgecomp.frontend.load import load_model
from edgecomp.graph.run import run_model


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def lengths_mask(form, batch, queries, keys):
    rng = np.random.default_rng(5)
    ends = rng.integers(2, keys + 1, batch).astype(np.int32)
    if form == "lengths":
        return ends
    if form == "ends and starts":
        return np.concatenate([ends, rng.integers(0, 2, batch)]).astype(np.int32)
    keep = (np.arange(keys) < ends[:, None]).astype(np.int32)
    if form == "keys":
        return keep
    if form == "queries":
        return np.repeat(keep[:, None], queries, 1)
    return None


@pytest.mark.parametrize(
    ("past", "form"),
    [
        *((0, form) for form in ("", "lengths", "ends and starts", "keys", "queries")),
        # onnxruntime takes no lengths beside a past.
        *((3, form) for form in ("", "keys", "queries")),
    ],
)
@pytest.mark.parametrize("causal", [0, 1])
def test_attention(form, causal, past):
    batch, queries, heads, size = 2, 5, 3, 8
    keys = past + queries
    hidden = heads * size
    inputs = {
        "x": random(batch, queries, 20),
        "w": random(20, 3 * hidden, seed=1),
        "b": random(3 * hidden, seed=2),
        "mask": lengths_mask(form, batch, queries, keys),
        "past": random(2, batch, heads, past, size, seed=3) if past else None,
    }
    model = vendor_model(
        "Attention", inputs, fixed=["w", "b"], num_heads=heads, unidirectional=causal,
        outputs=2 if past else 1,
    )  # fmt: skip
    check_definition(model, inputs)


def test_attention_with_scores_of_the_caller_and_values_of_another_size():
    inputs = {
        "x": random(2, 5, 20), "w": random(20, 24 + 24 + 36, seed=1), "b": random(84, seed=2),
        "mask": None, "past": None, "bias": random(1, 3, 5, 5, seed=4),
    }  # fmt: skip
    model = vendor_model(
        "Attention", inputs, fixed=["w", "b"], num_heads=3, qkv_hidden_sizes=[24, 24, 36],
        scale=0.4,
    )  # fmt: skip
    check_vendor(model, inputs)


@pytest.mark.parametrize("weight", [np.int8, np.uint8])
@pytest.mark.parametrize("per_column", [False, True])
@pytest.mark.parametrize("form", ["", "keys"])
def test_quantized_attention(weight, per_column, form):
    rng = np.random.default_rng(0)
    limits = np.iinfo(weight)
    scales = rng.uniform(0.005, 0.02, 48 if per_column else ()).astype(np.float32)
    inputs = {
        "x": rng.integers(0, 256, (2, 5, 20)).astype(np.uint8),
        "w": rng.integers(limits.min + 1, limits.max, (20, 48)).astype(weight),
        "b": random(48),
        "xs": np.float32(0.02),
        "ws": scales,
        "mask": lengths_mask(form, 2, 5, 5),
        "xz": np.uint8(120),
        "wz": np.full(scales.shape, 128 if weight == np.uint8 else 0, weight),
    }
    model = vendor_model(
        "QAttention", inputs, fixed=["w", "b", "xs", "ws", "xz", "wz"], num_heads=2
    )
    check_definition(model, inputs)


# onnxruntime takes no bias beside keys with heads in front.
@pytest.mark.parametrize(("packing", "bias"), [("", False), ("", True), ("heads", False)])
@pytest.mark.parametrize("form", ["", "keys"])
def test_multi_head_attention(packing, bias, form):
    batch, queries, heads, size = 2, 5, 3, 8
    keys = 7
    hidden = heads * size
    if packing == "heads":
        parts = [random(batch, queries, hidden)]
        parts += [random(batch, heads, keys, size, seed=k) for k in (1, 2)]
    else:
        parts = [random(batch, queries, hidden)]
        parts += [random(batch, keys, hidden, seed=k) for k in (1, 2)]
    inputs = {
        **dict(zip(["q", "k", "v"], parts, strict=True)),
        "b": random(3 * hidden, seed=4) if bias else None,
        "mask": lengths_mask(form, batch, queries, keys),
        "scores": random(batch, heads, queries, keys, seed=6) if form else None,
    }
    model = vendor_model("MultiHeadAttention", inputs, fixed=["b"], num_heads=heads)
    check_definition(model, inputs)


@pytest.mark.parametrize("packing", ["keys", "all"])
def test_packed_multi_head_attention(packing):
    """onnxruntime has these forms on GPUs only: compared with the form that is not packed."""
    batch, length, heads, size = 2, 5, 3, 8
    q, k, v = (random(batch, length, heads, size, seed=seed) for seed in range(3))
    apart = [x.reshape(batch, length, -1) for x in (q, k, v)]
    packed = {
        "keys": [apart[0], np.stack([k, v], 3), None],
        "all": [np.stack([q, k, v], 3), None, None],
    }[packing]
    results = []
    for parts in (apart, packed):
        bias = random(3 * heads * size, seed=4) if packing == "all" else None
        inputs = {**dict(zip("qkv", parts, strict=True)), "b": bias}
        model = vendor_model("MultiHeadAttention", inputs, fixed=["b"], num_heads=heads)
        results.append(run_model(load_model(model), feeds_of(model, inputs))["y0"])
    np.testing.assert_allclose(*results, atol=1e-6)


@pytest.mark.parametrize("causal", [0, 1])
def test_multi_head_attention_with_a_past(causal):
    batch, queries, heads, size, past = 2, 3, 2, 8, 4
    inputs = {
        "q": random(batch, queries, 16), "k": random(batch, queries, 16, seed=1),
        "v": random(batch, queries, 16, seed=2), "b": None, "mask": None, "scores": None,
        "past_k": random(batch, heads, past, size, seed=3),
        "past_v": random(batch, heads, past, size, seed=4),
    }  # fmt: skip
    model = vendor_model(
        "MultiHeadAttention", inputs, num_heads=heads, unidirectional=causal, outputs=3
    )
    check_definition(model, inputs)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("positions", ["each", "first"])
@pytest.mark.parametrize("turned", [0, 8])
def test_rotary_embedding(interleaved, flat, positions, turned):
    batch, heads, length, size = 2, 3, 5, 16
    shape = (batch, length, heads * size) if flat else (batch, heads, length, size)
    given = np.random.default_rng(0).integers(0, 20, (batch, length)).astype(np.int64)
    angles = random(20, (turned or size) // 2)
    inputs = {
        "x": random(*shape, seed=1),
        "positions": given if positions == "each" else np.int64([4]),
        "cos": np.cos(angles),
        "sin": np.sin(angles),
    }
    attributes = {"rotary_embedding_dim": turned} if turned else {}
    if turned or flat:
        attributes["num_heads"] = heads
    model = vendor_model(
        "RotaryEmbedding", inputs, fixed=["cos", "sin"], interleaved=interleaved, **attributes
    )
    check_definition(model, inputs)


@pytest.mark.parametrize("past", [0, 6])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    ("rotary", "packed", "extra"),
    [
        *itertools.product([0, 1], [False, True], [""]),
        *((0, False, extra) for extra in ("window", "softcap", "smooth", "bias", "sink")),
    ],
)
def test_group_query_attention(past, rotary, packed, batch, extra):
    heads, groups, size = 4, 2, 16
    queries = 5 if not past else 2 if batch == 1 else 1
    total = past + queries
    widths = (heads * size, groups * size, groups * size)
    parts = [random(batch, queries, width, seed=k) for k, width in enumerate(widths)]
    if packed:
        parts = [np.concatenate(parts, -1), None, None]
    angles = random(20, size // 2, seed=9)
    short = 0 if past or batch == 1 else 1
    inputs = {
        **dict(zip(["q", "k", "v"], parts, strict=True)),
        "past_k": random(batch, groups, past, size, seed=3) if past else None,
        "past_v": random(batch, groups, past, size, seed=4) if past else None,
        "seqlens": np.full(batch, total - 1 - short, np.int32),
        "total": np.int32(total),
        "cos": np.cos(angles) if rotary else None,
        "sin": np.sin(angles) if rotary else None,
        "positions": None,
        "scores": random(1, heads, queries, total, seed=6) if extra == "bias" else None,
        "sink": random(heads, seed=7) if extra == "sink" else None,
    }
    attributes = {
        "window": {"local_window_size": 3}, "softcap": {"softcap": 2.0},
        "smooth": {"smooth_softmax": 1},
    }.get(extra, {})  # fmt: skip
    model = vendor_model(
        "GroupQueryAttention", inputs, fixed=["total", "cos", "sin"], outputs=3,
        num_heads=heads, kv_num_heads=groups, do_rotary=rotary, **attributes,
    )  # fmt: skip
    check_definition(model, inputs)
