"""Calibration samples from a folder of images."""

import contextlib
import hashlib
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from edgecomp.calibrate.feeds import InputLike, shape_and_dtype
from edgecomp.calibrate.select import spread
from edgecomp.errors import Code, EdgecompError
from edgecomp.file_hash import file_sha256
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

    The input's shape says whether it is [N, C, H, W] or [N, H, W, C]; ``edgecomp.images`` has
    the rest, the same as for running a model on a picture.
    """

    def __init__(
        self,
        paths: Sequence[pathlib.Path],
        inputs: Sequence[InputLike],
        options: ImageOptions,
        samples: int,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self._layout, batch = _layout_of(inputs)
        check_picture_options(self._layout, options)
        self._options = options
        self._transform = transform
        self._paths = [paths[index] for index in spread(len(paths), samples * batch)]
        self._batch = batch
        self.total = len(self._paths) // batch

    def source_digests(self) -> Iterator[bytes] | None:
        """One per feed, of the contents of its files; None where code decides what is made."""
        return None if self._transform is not None else self._file_digests()

    def _file_digests(self) -> Iterator[bytes]:
        form = f"{self._layout} {self._options}".encode()
        for start in range(0, self.total * self._batch, self._batch):
            digest = hashlib.blake2b(form, digest_size=16)
            for path in self._paths[start : start + self._batch]:
                with contextlib.suppress(OSError):  # who opens it says what is wrong with it
                    digest.update(file_sha256(path).encode())
            yield digest.digest()

    def __iter__(self) -> Iterator[object]:
        for path in self._paths:
            try:
                picture = open_picture(path, self._layout)
            except EdgecompError as error:
                raise EdgecompError(
                    Code.CALIBRATION_INVALID,
                    error.cause,
                    path=str(path),
                    hint="remove it from the calibration folder",
                ) from error
            if self._transform is None:
                yield picture_array(picture, self._layout, self._options)
            else:
                yield self._transform(picture)


def _layout_of(inputs: Sequence[InputLike]) -> tuple[PictureLayout, int]:
    """How the model's only input holds pictures, and how many."""
    if len(inputs) != 1:
        raise EdgecompError(
            Code.CALIBRATION_INVALID,
            f"a folder of images cannot feed a model of {len(inputs)} inputs",
            hint="use a .npz file with one array per input, or a script",
        )
    shape, dtype = shape_and_dtype(inputs[0])
    layout = picture_layout(shape, str(dtype))
    if layout is None:
        raise EdgecompError(
            Code.CALIBRATION_INVALID,
            f"input '{inputs[0].name}' {list(shape)} {dtype} is not an image of 1, 3 or 4 "
            "channels",
            hint="use a .npy file or a script",
        )
    return layout, max(1, shape[0]) if len(shape) == 4 else 1
