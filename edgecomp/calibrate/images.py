"""Calibration samples from a folder of images."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from edgecomp.calibrate.feeds import InputLike
from edgecomp.calibrate.select import spread
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.constants import AnyArray

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageForm:
    """How an image becomes an input.

    Attributes:
        mean: subtracted from each channel of pixels in 0..1; one number is for all channels.
        std: divides each channel after that.
        resize: pixels of the shorter side before the centre is cropped; None is 8/7 of the
            input's shorter side (256 for 224), 0 stretches the image to the input instead.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resize: int | None = None


class ImageFolder:
    """Images below a folder in the order of their paths, one array without batch each.

    The input's shape says whether it is [N, C, H, W] or [N, H, W, C]; a uint8 input gets the
    pixels themselves.
    """

    def __init__(
        self,
        paths: Sequence[pathlib.Path],
        inputs: Sequence[InputLike],
        form: ImageForm,
        samples: int,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self._layout = _layout_of(inputs)
        self._form = form
        self._transform = transform
        self._check_form()
        batch = max(1, inputs[0].shape[0])
        self._paths = [paths[index] for index in spread(len(paths), samples * batch)]
        self.total = len(self._paths) // batch

    def __iter__(self) -> Iterator[object]:
        from PIL import Image, ImageOps

        for path in self._paths:
            try:
                with Image.open(path) as file:
                    image = ImageOps.exif_transpose(file)
                    image = image.convert(_MODES[self._layout.channels])
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                raise EdgecompError(
                    Code.CALIBRATION_INVALID,
                    f"cannot read the image: {error}",
                    path=str(path),
                    hint="remove it from the calibration folder",
                ) from error
            yield self._array(image) if self._transform is None else self._transform(image)

    def _array(self, image: Any) -> AnyArray:
        layout = self._layout
        pixels = np.asarray(self._fitted(image)).reshape(layout.height, layout.width, -1)
        if layout.dtype == np.uint8:
            array: AnyArray = pixels
        else:
            real = pixels.astype(np.float64) / 255.0
            real = real - np.array(self._form.mean or (0.0,))
            array = (real / np.array(self._form.std or (1.0,))).astype(layout.dtype)
        return array.transpose(2, 0, 1) if layout.channels_first else array

    def _fitted(self, image: Any) -> Any:
        from PIL import Image

        wide, high = self._layout.width, self._layout.height
        if self._form.resize == 0:
            return image.resize((wide, high), Image.Resampling.BICUBIC)
        shorter = self._form.resize or round(min(wide, high) * 8 / 7)
        # The crop must lie inside the resized image.
        scale = max(shorter / min(image.size), wide / image.width, high / image.height)
        size = (max(wide, round(image.width * scale)), max(high, round(image.height * scale)))
        resized = image.resize(size, Image.Resampling.BICUBIC)
        left, top = (size[0] - wide) // 2, (size[1] - high) // 2
        return resized.crop((left, top, left + wide, top + high))

    def _check_form(self) -> None:
        for name, numbers in (("mean", self._form.mean), ("std", self._form.std)):
            if len(numbers) not in (0, 1, self._layout.channels):
                raise EdgecompError(
                    Code.USAGE,
                    f"{name} has {len(numbers)} numbers, the input {self._layout.channels} "
                    "channels",
                )
        if any(abs(number) > 1.0 for number in self._form.mean):
            raise EdgecompError(
                Code.USAGE,
                "mean is for pixels in 0..1",
                hint="divide mean and std by 255",
            )
        if any(number <= 0.0 for number in self._form.std):
            raise EdgecompError(Code.USAGE, "std must be positive")


@dataclasses.dataclass(frozen=True)
class _Layout:
    channels: int
    height: int
    width: int
    channels_first: bool
    dtype: np.dtype[Any]


def _layout_of(inputs: Sequence[InputLike]) -> _Layout:
    if len(inputs) != 1:
        raise EdgecompError(
            Code.CALIBRATION_INVALID,
            f"a folder of images cannot feed a model of {len(inputs)} inputs",
            hint="use a .npz file with one array per input, or a script",
        )
    (spec,) = inputs
    dtype = np.dtype(spec.dtype or "float32")
    if len(spec.shape) == 4 and (dtype.kind == "f" or dtype == np.uint8):
        _, a, b, c = spec.shape
        if a in _MODES:
            return _Layout(a, b, c, channels_first=True, dtype=dtype)
        if c in _MODES:
            return _Layout(c, a, b, channels_first=False, dtype=dtype)
    raise EdgecompError(
        Code.CALIBRATION_INVALID,
        f"input '{spec.name}' {list(spec.shape)} {dtype} is not an image of 1, 3 or 4 channels",
        hint="use a .npy file or a script",
    )
