"""Pictures as inputs: size, channels, layout, normalization."""

import types

import hypothesis
import numpy as np
import PIL.Image
import pytest
from hypothesis import strategies as st

from edgecomp.errors import Code, EdgecompError
from edgecomp.images import read_image
from edgecomp.options import ImageOptions


def save(folder, pixels, name="picture.png", **settings):
    path = folder / name
    PIL.Image.fromarray(pixels).save(path, **settings)
    return path


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 256, (24, 32, 3), np.uint8)


def test_a_picture_of_the_inputs_size_is_taken_as_it_is(tmp_path, pixels):
    path = save(tmp_path, pixels)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    options = ImageOptions(mean=mean, std=std)
    found = read_image(path, (1, 3, 24, 32), "float32", options)
    expected = (pixels.astype(np.float64) / 255 - mean) / std
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0].transpose(1, 2, 0), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((1, 3, 24, 32), (2, 0, 1)),
        ((3, 24, 32), (2, 0, 1)),
        ((1, 24, 32, 3), (0, 1, 2)),
        ((24, 32, 3), (0, 1, 2)),
    ],
)
def test_both_layouts(tmp_path, pixels, shape, axes):
    found = read_image(save(tmp_path, pixels), shape, "uint8", ImageOptions())
    assert found.shape == shape
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found.reshape(-1), pixels.transpose(axes).reshape(-1))


def test_one_channel_is_brightness(tmp_path):
    pixels = np.full((8, 8, 3), 90, np.uint8)
    found = read_image(save(tmp_path, pixels), (1, 1, 8, 8), "float32", ImageOptions())
    np.testing.assert_allclose(found, 90 / 255, rtol=1e-6)


def test_a_grey_picture_fills_three_channels(tmp_path):
    pixels = np.full((8, 8), 51, np.uint8)
    found = read_image(save(tmp_path, pixels), (1, 3, 8, 8), "float32", ImageOptions())
    np.testing.assert_allclose(found, 0.2, rtol=1e-6)


def test_stretching_keeps_the_border(tmp_path):
    pixels = np.zeros((16, 64, 3), np.uint8)
    pixels[:, 32:] = 255
    options = ImageOptions(resize=0)
    found = read_image(save(tmp_path, pixels), (1, 3, 16, 16), "uint8", options)
    assert (found[..., :6] == 0).all()
    assert (found[..., 10:] == 255).all()


def test_transparency_is_a_fourth_channel(tmp_path, rng):
    pixels = rng.integers(0, 256, (8, 8, 4), np.uint8)
    found = read_image(save(tmp_path, pixels), (1, 8, 8, 4), "uint8", ImageOptions())
    np.testing.assert_array_equal(found[0], pixels)


def test_the_centre_is_cropped(tmp_path):
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[:, 40:88] = 200
    options = ImageOptions(resize=64)
    found = read_image(save(tmp_path, pixels), (1, 3, 48, 48), "uint8", options)
    assert (found == 200).all()


def test_by_default_the_crop_keeps_seven_eighths(tmp_path):
    """256x256 to 224x224 without resampling: 16 pixels go on each side."""
    pixels = np.arange(256, dtype=np.uint8)[:, None, None] * np.ones((256, 256, 3), np.uint8)
    found = read_image(save(tmp_path, pixels), (1, 3, 224, 224), "uint8", ImageOptions())
    assert found[0, 0, 0, 0] == 16
    assert found[0, 0, -1, 0] == 239


def test_the_cameras_orientation_is_applied(tmp_path):
    pixels = np.zeros((16, 8, 3), np.uint8)
    pixels[:8] = 255
    exif = PIL.Image.Exif()
    exif[0x0112] = 3  # upside down
    path = save(tmp_path, pixels, exif=exif)
    found = read_image(path, (1, 3, 16, 8), "uint8", ImageOptions())
    assert found[0, 0, 0, 0] == 0
    assert found[0, 0, -1, 0] == 255


@hypothesis.given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_any_picture_fits_any_input(tmp_path_factory, size, wanted):
    pixels = np.full((*size, 3), 130, np.uint8)
    path = save(tmp_path_factory.mktemp("picture"), pixels)
    found = read_image(path, (1, 3, *wanted), "uint8", ImageOptions())
    assert found.shape == (1, 3, *wanted)
    assert (found == 130).all()


@pytest.mark.parametrize(
    ("shape", "dtype", "options", "code", "cause"),
    [
        ((1, 10), "float32", {}, Code.INPUT_MISMATCH, "float32 1x10 takes no picture"),
        ((2, 3, 8, 8), "float32", {}, Code.INPUT_MISMATCH, "takes no picture"),
        ((1, 5, 8, 8), "float32", {}, Code.INPUT_MISMATCH, "takes no picture"),
        ((1, 3, 8, 8), "int64", {}, Code.INPUT_MISMATCH, "takes no picture"),
        ((1, 3, 8, 8), "uint8", {"mean": (0.5,)}, Code.USAGE, "takes pixels (uint8)"),
        ((1, 3, 8, 8), "float32", {"mean": (0.1,) * 4}, Code.USAGE, "--mean has 4 numbers"),
        ((1, 1, 8, 8), "float32", {"std": (0.1,) * 3}, Code.USAGE, "--std has 3 numbers"),
        ((1, 3, 8, 8), "float32", {"resize": 7}, Code.USAGE, "smaller than the input, 8x8"),
    ],
)
def test_refusals(tmp_path, pixels, shape, dtype, options, code, cause):
    path = save(tmp_path, pixels)
    with pytest.raises(EdgecompError) as info:
        read_image(path, shape, dtype, ImageOptions(**options))
    assert info.value.code is code
    assert cause in info.value.cause


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n\0\0"])
def test_what_is_no_picture(tmp_path, content):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(EdgecompError) as info:
        read_image(path, (1, 3, 8, 8), "float32", ImageOptions())
    assert info.value.code is Code.USAGE
    assert "not a picture" in info.value.cause


def test_a_truncated_picture(tmp_path, pixels):
    path = save(tmp_path, pixels, "x.jpg")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(EdgecompError) as info:
        read_image(path, (1, 3, 8, 8), "float32", ImageOptions())
    assert "not a picture" in info.value.cause


def test_a_missing_picture(tmp_path):
    with pytest.raises(EdgecompError) as info:
        read_image(tmp_path / "none.png", (1, 3, 8, 8), "float32", ImageOptions())
    assert info.value.code is Code.FILE_MISSING


def test_calibration_sees_what_run_sees(tmp_path, rng):
    from edgecomp.calibrate.readers import open_calibration

    for index in range(3):
        save(tmp_path, rng.integers(0, 256, (40 + index, 60, 3), np.uint8), f"{index}.png")
    spec = types.SimpleNamespace(name="x", shape=(1, 3, 32, 32), dtype="float32")
    options = ImageOptions(mean=(0.4, 0.5, 0.6), std=(0.2,), resize=36)
    feeds = open_calibration(
        tmp_path, [spec], num_samples=3, mean=options.mean, std=options.std, resize=36
    )
    for index, feed in enumerate(feeds):
        expected = read_image(tmp_path / f"{index}.png", spec.shape, spec.dtype, options)
        np.testing.assert_array_equal(feed["x"], expected)
