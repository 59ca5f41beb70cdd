"""A picture to an input of a model: the same for calibration and for ``edgecomp run``."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING

import numpy as np

from edgecomp.errors import Code, EdgecompError
from edgecomp.options import ImageOptions
from edgecomp.plan.values import Array

if TYPE_CHECKING:
    import PIL.Image

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

#: Share of the resized image that the crop keeps, as ImageNet models are evaluated: 224 of 256.
_CROP_SHARE = 7 / 8
#: Channels -> mode of Pillow.
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclasses.dataclass(frozen=True)
class PictureLayout:
    """How an input holds a picture.

    Attributes:
        channels, height, width: of the picture.
        channels_first: whether channels come before height.
        dtype: numpy name.
    """

    channels: int
    height: int
    width: int
    channels_first: bool
    dtype: str


def picture_layout(shape: tuple[int, ...], dtype: str) -> PictureLayout | None:
    """How an input of this shape holds a picture, None when it does not.

    Args:
        shape: [N, C, H, W] or [N, H, W, C], or one of them without N; C is 1, 3 or 4.
        dtype: numpy name; a float, or uint8.
    """
    if dtype != "uint8" and not dtype.startswith("float"):
        return None
    dims = shape[1:] if len(shape) == 4 else shape
    if len(dims) != 3:
        return None
    if dims[0] in _MODES:
        return PictureLayout(dims[0], dims[1], dims[2], channels_first=True, dtype=dtype)
    if dims[2] in _MODES:
        return PictureLayout(dims[2], dims[0], dims[1], channels_first=False, dtype=dtype)
    return None


def check_picture_options(layout: PictureLayout, options: ImageOptions) -> None:
    """See whether the options fit the input.

    Raises:
        EdgecompError: ``USAGE``.
    """
    for name in ("mean", "std"):
        count = len(getattr(options, name))
        if count not in (0, 1, layout.channels):
            raise EdgecompError(
                Code.USAGE,
                f"--{name} has {count} numbers, the input {layout.channels} channels",
            )
        if count and layout.dtype == "uint8":
            raise EdgecompError(
                Code.USAGE,
                f"--{name} is given, but the input takes pixels (uint8)",
                hint="leave --mean and --std out: the model normalizes itself",
            )
    smallest = max(layout.height, layout.width)
    if options.resize and options.resize < smallest:
        raise EdgecompError(
            Code.USAGE,
            f"--resize {options.resize} is smaller than the input, "
            f"{layout.width}x{layout.height}",
            hint=f"give at least --resize {smallest}, or 0 to stretch the picture",
        )


def open_picture(path: pathlib.Path, layout: PictureLayout) -> "PIL.Image.Image":
    """Read a picture with the input's channels, the way up it was taken.

    Raises:
        EdgecompError: ``FILE_MISSING``, ``USAGE`` for a file that is no picture.
    """
    import PIL.Image
    import PIL.ImageOps

    try:
        with PIL.Image.open(path) as file:
            return PIL.ImageOps.exif_transpose(file).convert(_MODES[layout.channels])
    except FileNotFoundError as error:
        raise EdgecompError(Code.FILE_MISSING, "no such file", path=str(path)) from error
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise EdgecompError(
            Code.USAGE, f"not a picture that can be read: {error}", path=str(path)
        ) from error


def picture_array(
    picture: "PIL.Image.Image", layout: PictureLayout, options: ImageOptions
) -> Array:
    """Resize, crop the centre, normalize.

    Args:
        picture: with the layout's channels.
        layout: what the input takes.
        options: checked by ``check_picture_options``.

    Returns:
        Array [C, H, W] or [H, W, C] of the layout's dtype: the pixels for uint8, for floats
        ``(pixel / 255 - mean) / std``.
    """
    fitted = _crop(_resize(picture, layout, options), layout)
    pixels = np.asarray(fitted).reshape(layout.height, layout.width, layout.channels)
    values: Array = pixels
    if layout.dtype != "uint8":
        real = pixels / 255.0 - np.asarray(options.mean or (0.0,))
        values = (real / np.asarray(options.std or (1.0,))).astype(layout.dtype)
    return np.ascontiguousarray(values.transpose(2, 0, 1) if layout.channels_first else values)


def read_image(
    path: pathlib.Path, shape: tuple[int, ...], dtype: str, options: ImageOptions
) -> Array:
    """A picture file as the contents of an input.

    Args:
        path: picture in any format that Pillow reads.
        shape: as in ``picture_layout``; N is 1.
        dtype: as in ``picture_layout``.
        options: mean, std and resize.

    Returns:
        Array of ``shape`` and ``dtype``.

    Raises:
        EdgecompError: ``FILE_MISSING``; ``USAGE`` for a file that is no picture or options that
            do not fit; ``INPUT_MISMATCH`` for an input that takes no picture.
    """
    layout = picture_layout(shape, dtype)
    if layout is None or (len(shape) == 4 and shape[0] != 1):
        raise EdgecompError(
            Code.INPUT_MISMATCH,
            f"an input {dtype} {'x'.join(str(d) for d in shape)} takes no picture",
            path=str(path),
            hint="a picture fits 1xCxHxW or 1xHxWxC of floats or uint8 with 1, 3 or 4 channels; "
            "give an .npy file",
        )
    check_picture_options(layout, options)
    return picture_array(open_picture(path, layout), layout, options).reshape(shape)


def _resize(
    picture: "PIL.Image.Image", layout: PictureLayout, options: ImageOptions
) -> "PIL.Image.Image":
    import PIL.Image

    wanted = (layout.width, layout.height)
    if options.resize == 0:
        size = wanted
    elif options.resize:
        factor = options.resize / min(picture.size)
        size = (round(picture.width * factor), round(picture.height * factor))
    elif picture.size == wanted:
        # It was prepared for this input: cropping would throw its border away.
        return picture
    else:
        factor = max(wanted[0] / picture.width, wanted[1] / picture.height) / _CROP_SHARE
        size = (round(picture.width * factor), round(picture.height * factor))
    # Never smaller than the crop by rounding alone.
    size = (max(size[0], wanted[0]), max(size[1], wanted[1]))
    return picture.resize(size, PIL.Image.Resampling.BICUBIC)


def _crop(picture: "PIL.Image.Image", layout: PictureLayout) -> "PIL.Image.Image":
    left = (picture.width - layout.width) // 2
    top = (picture.height - layout.height) // 2
    return picture.crop((left, top, left + layout.width, top + layout.height))
