"""Calibration samples from a folder of images."""

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from edgecomp.calibrate.feeds import InputLike
from edgecomp.calibrate.select import spread
from edgecomp.errors import Code, EdgecompError
from edgecomp.images import (
    SUFFIXES,
    PictureLayout,
    check_picture_options,
    open_picture,
    picture_array,
    picture_layout,
)
from edgecomp.options import ImageOptions

__all__ = ["SUFFIXES", "ImageFolder"]


class ImageFolder:
    """Images below a folder in the order of their paths, one array without batch each.

    The input's shape says whether it is [N, C, H, W] or [N, H, W, C]; a uint8 input gets the
    pixels themselves. See ``edgecomp.images`` for what is done to an image.
    """

    def __init__(
        self,
        paths: Sequence[pathlib.Path],
        inputs: Sequence[InputLike],
        form: ImageOptions,
        samples: int,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self._layout = _layout_of(inputs)
        self._form = form
        self._transform = transform
        check_picture_options(self._layout, form)
        batch = max(1, inputs[0].shape[0])
        self._paths = [paths[index] for index in spread(len(paths), samples * batch)]
        self.total = len(self._paths) // batch

    def __iter__(self) -> Iterator[object]:
        for path in self._paths:
            try:
                image = open_picture(path, self._layout)
            except EdgecompError as error:
                raise EdgecompError(
                    Code.CALIBRATION_INVALID,
                    error.cause,
                    path=str(path),
                    hint="remove it from the calibration folder",
                ) from error
            if self._transform is not None:
                yield self._transform(image)
            else:
                yield picture_array(image, self._layout, self._form)


def _layout_of(inputs: Sequence[InputLike]) -> PictureLayout:
    if len(inputs) != 1:
        raise EdgecompError(
            Code.CALIBRATION_INVALID,
            f"a folder of images cannot feed a model of {len(inputs)} inputs",
            hint="use a .npz file with one array per input, or a script",
        )
    (spec,) = inputs
    dtype = np.dtype(spec.dtype or "float32").name
    layout = picture_layout(tuple(spec.shape), dtype) if len(spec.shape) == 4 else None
    if layout is None:
        raise EdgecompError(
            Code.CALIBRATION_INVALID,
            f"input '{spec.name}' {list(spec.shape)} {dtype} is not an image of 1, 3 or 4 "
            "channels",
            hint="use a .npy file or a script",
        )
    return layout
