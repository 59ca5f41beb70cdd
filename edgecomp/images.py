"""A picture file to an input of a model."""

import pathlib

import numpy as np
import PIL.Image
import PIL.ImageOps

from edgecomp.errors import Code, EdgecompError
from edgecomp.options import ImageOptions
from edgecomp.plan.values import Array

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif"})

#: Share of the resized image that the crop keeps, as ImageNet models are evaluated.
_CROP_SHARE = 7 / 8
#: Channels -> mode of Pillow.
_MODES = {1: "L", 3: "RGB"}


def read_image(
    path: pathlib.Path, shape: tuple[int, ...], dtype: str, options: ImageOptions
) -> Array:
    """Read, resize, crop the centre, normalize.

    Args:
        path: picture in any format that Pillow reads.
        shape: of the input, [1, C, H, W] or [1, H, W, C], with or without the 1; C is 1 or 3.
        dtype: of the input. Floats get ``(pixel / 255 - mean) / std``, uint8 the pixels.
        options: mean, std and resize.

    Returns:
        Array of ``shape`` and ``dtype``.

    Raises:
        EdgecompError: ``FILE_MISSING``, ``USAGE`` for a file that is no picture or a resize
            smaller than the crop, ``INPUT_MISMATCH`` for an input that takes no picture.
    """
    channels, height, width, channels_first = _layout(shape, path)
    picture = _open(path).convert(_MODES[channels])
    picture = _crop(_resize(picture, height, width, options, path), height, width)
    pixels = np.asarray(picture).reshape(height, width, channels)
    values = _normalize(pixels, dtype, options, path)
    if channels_first:
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values.reshape(shape))


def _layout(shape: tuple[int, ...], path: pathlib.Path) -> tuple[int, int, int, bool]:
    """(channels, height, width, whether channels come before height)."""
    dims = shape[1:] if len(shape) == 4 and shape[0] == 1 else shape
    if len(dims) == 3 and dims[0] in _MODES:
        return dims[0], dims[1], dims[2], True
    if len(dims) == 3 and dims[2] in _MODES:
        return dims[2], dims[0], dims[1], False
    text = "x".join(str(d) for d in shape)
    raise EdgecompError(
        Code.INPUT_MISMATCH,
        f"an input of shape {text} takes no picture",
        path=str(path),
        hint="a picture fits 1xCxHxW or 1xHxWxC with 1 or 3 channels; give an .npy file",
    )


def _open(path: pathlib.Path) -> PIL.Image.Image:
    try:
        picture = PIL.Image.open(path)
        picture.load()
    except FileNotFoundError as error:
        raise EdgecompError(Code.FILE_MISSING, "no such file", path=str(path)) from error
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise EdgecompError(
            Code.USAGE, f"not a picture that can be read: {error}", path=str(path)
        ) from error
    # A camera stores the picture as the sensor lay and notes which way up it is.
    return PIL.ImageOps.exif_transpose(picture)


def _resize(
    picture: PIL.Image.Image,
    height: int,
    width: int,
    options: ImageOptions,
    path: pathlib.Path,
) -> PIL.Image.Image:
    if options.resize is None:
        if picture.size == (width, height):
            return picture
        factor = max(height / picture.height, width / picture.width) / _CROP_SHARE
    else:
        factor = options.resize / min(picture.size)
    # Never smaller than the crop by rounding alone.
    size = (round(picture.width * factor), round(picture.height * factor))
    if size[0] < width or size[1] < height:
        raise EdgecompError(
            Code.USAGE,
            f"--resize {options.resize} makes the picture {size[0]}x{size[1]}, smaller than "
            f"the input's {width}x{height}",
            path=str(path),
            hint=f"give at least --resize {max(height, width)}",
        )
    return picture.resize(size, PIL.Image.Resampling.BICUBIC)


def _crop(picture: PIL.Image.Image, height: int, width: int) -> PIL.Image.Image:
    left = (picture.width - width) // 2
    top = (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _normalize(pixels: Array, dtype: str, options: ImageOptions, path: pathlib.Path) -> Array:
    if dtype == "uint8" and not (options.mean or options.std):
        return pixels
    if np.dtype(dtype).kind != "f":
        raise EdgecompError(
            Code.INPUT_MISMATCH,
            f"an input of {dtype} cannot hold a normalized picture",
            path=str(path),
            hint="leave --mean and --std out for uint8; give an .npy file for other integers",
        )
    mean = np.asarray(options.mean or (0.0,), np.float32)
    std = np.asarray(options.std or (1.0,), np.float32)
    for name, values in (("--mean", mean), ("--std", std)):
        if values.size not in (1, pixels.shape[-1]):
            raise EdgecompError(
                Code.USAGE,
                f"{name} has {values.size} numbers, the picture has {pixels.shape[-1]} channels",
                path=str(path),
            )
    scaled = pixels.astype(np.float32) / np.float32(255)
    return ((scaled - mean) / std).astype(dtype)
