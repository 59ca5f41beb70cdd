"""Nodes of com.microsoft that onnxruntime would not run: an error with their name, no traceback."""

import numpy as np
import pytest
from helpers.microsoft import vendor_model

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.load import load_model


def f32(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def u8(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


ATTENTION = {"x": f32(2, 5, 20), "w": f32(20, 24), "b": f32(24)}
THREE = {name: f32(2, 5, 24) for name in "qkv"}
GROUPED = THREE | {"pk": None, "pv": None, "s": np.int32([4, 4]), "t": np.int32(5)}
LSTM = {
    "x": f32(3, 1, 4), "w": u8(1, 4, 8), "r": u8(1, 2, 8), **dict.fromkeys("blhcp"),
    "ws": f32(1), "wz": u8(1), "rs": f32(1), "rz": u8(1),
}  # fmt: skip
UNFIT, MISSING = "do not fit", "has no input"
CASES = {
    "no heads": ("Attention", ATTENTION, {"num_heads": 0}, UNFIT),
    "rank": ("Attention", ATTENTION | {"x": f32(5, 20)}, {"num_heads": 2}, UNFIT),
    "sizes": ("Attention", ATTENTION, {"num_heads": 2, "qkv_hidden_sizes": [8, 8]}, UNFIT),
    "queries of rank 1": ("MultiHeadAttention", {"q": f32(5)}, {"num_heads": 1}, UNFIT),
    "no groups": ("GroupQueryAttention", GROUPED, {"num_heads": 2, "kv_num_heads": 0}, UNFIT),
    "no lengths": ("GroupQueryAttention", {"q": f32(2, 5, 24)}, {"num_heads": 2}, MISSING),
    "angles": (
        "RotaryEmbedding",
        {"x": f32(2, 3, 5, 16), "p": np.int64([[1]]), "c": f32(4), "s": f32(4)},
        {},
        UNFIT,
    ),
    "no tables": ("EmbedLayerNormalization", {"ids": np.int32([[1, 2]])}, {}, MISSING),
    "no skip": ("SkipLayerNormalization", {"x": f32(2, 4)}, {}, MISSING),
    "no summand": ("QLinearAdd", {"a": u8(3), "s": np.float32(1)}, {}, MISSING),
    "no weights": ("QGemm", {"a": u8(2, 2), "s": np.float32(1), "z": u8()}, {}, MISSING),
    "no bias": ("BiasGelu", {"x": f32(2)}, {}, MISSING),
    "matrix": ("DynamicQuantizeLSTM", LSTM | {"w": u8(4, 8)}, {"hidden_size": 2}, UNFIT),
    "scales": ("DynamicQuantizeLSTM", LSTM | {"ws": f32(3)}, {"hidden_size": 2}, UNFIT),
}


@pytest.mark.parametrize("name", CASES)
def test_refused(name):
    operator, inputs, attributes, cause = CASES[name]
    fixed = [each for each in inputs if each in ("w", "r", "ws", "wz", "rs", "rz")]
    model = vendor_model(operator, inputs, fixed=fixed, **attributes)
    with pytest.raises(EdgecompError, match=cause) as caught:
        load_model(model)
    assert operator in caught.value.cause
    assert caught.value.code is Code.SHAPE_CONFLICT
    assert caught.value.node == "node"
