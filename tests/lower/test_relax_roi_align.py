"""RoiAlign against onnxruntime, and boxes far larger than the feature map."""

import numpy as np
import onnxruntime
import pytest
from helpers.nodes import compiled, node_model

BOXES = np.float32(
    [
        [0, 0, 6, 8], [1.5, 2, 5, 6], [-3, -4, 20, 30], [-60, -50, 70, 80],
        [5, 5, 5, 5], [6, 6, 2, 3], [100, 100, 130, 140],
    ]
)  # fmt: skip
IMAGES = np.array([0, 1, 0, 1, 1, 0, 1])
MAP = np.random.default_rng(0).standard_normal((2, 3, 7, 9)).astype(np.float32)
POOLED = {"output_height": 3, "output_width": 2}


@pytest.mark.parametrize("scale", [1.0, 0.25, 0.1])
@pytest.mark.parametrize("ratio", [0, 3])
@pytest.mark.parametrize("mode", ["half_pixel", "output_half_pixel"])
def test_boxes(mode, ratio, scale):
    """Those without a sample (no area, half_pixel) give 0, as those beside the map."""
    inputs = {"x": MAP, "r": BOXES / np.float32(scale), "i": IMAGES}
    model = node_model(
        "RoiAlign", inputs, opset=16, sampling_ratio=ratio, spatial_scale=scale,
        coordinate_transformation_mode=mode, **POOLED,
    )  # fmt: skip
    (want,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, inputs)
    (found,), _ = compiled(model, inputs)
    np.testing.assert_allclose(found, want, atol=1e-6)


def shares(low, high, pooled, extent):
    """[pooled, extent] what each pixel of a row adds to a bin, float64, by mode half_pixel."""
    length = (high - low) / pooled
    number = int(np.ceil(length))
    found = np.zeros((pooled, extent))
    for at in range(pooled):
        p = low - 0.5 + at * length + (np.arange(number) + 0.5) * length / number
        p = np.clip(p[(p >= -1) & (p <= extent)], 0, extent - 1)
        left = np.floor(p).astype(int)
        np.add.at(found[at], left, (1 - p + left) / number)
        np.add.at(found[at], np.minimum(left + 1, extent - 1), (p - left) / number)
    return found


def test_long_boxes():
    """Two bins of 5 * 10^4 samples: the few on the map are found."""
    boxes = np.float32([[0, 0, 1e5, 6], [-6e4, 1, 4e4, 5], [1, -1e5, 7, 2]])
    inputs = {"x": MAP, "r": boxes, "i": np.zeros(3, np.int64)}
    (found,), _ = compiled(node_model("RoiAlign", inputs, opset=16, **POOLED), inputs)
    for box, result in zip(boxes.astype(np.float64), found, strict=True):
        across, down = shares(box[0], box[2], 2, 9), shares(box[1], box[3], 3, 7)
        want = np.einsum("ph,chw,qw->cpq", down, MAP[0].astype(np.float64), across)
        assert np.abs(want).max() > 0
        np.testing.assert_allclose(result, want, rtol=0.02, atol=1e-7)


@pytest.mark.parametrize("mode", ["half_pixel", "output_half_pixel"])
def test_boxes_of_any_size_end(mode):
    """Every sample would take years."""
    boxes = np.float32(
        [
            [-1e9, -1e9, 1e9, 1e9], [0, 0, 3e38, 3e38], [-3e38, -3e38, 3e38, 3e38],
            [-np.inf, 0, np.inf, 4], [np.nan] * 4,
        ]
    )  # fmt: skip
    inputs = {"x": MAP, "r": boxes, "i": np.zeros(len(boxes), np.int64)}
    model = node_model(
        "RoiAlign", inputs, opset=16, coordinate_transformation_mode=mode, **POOLED
    )
    (found,), _ = compiled(model, inputs)
    assert np.isfinite(found).all()
    assert np.abs(found[:3]).max() < 1e-7
