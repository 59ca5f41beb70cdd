"""Open a calibration set of any kind as one re-iterable stream of feeds."""

import itertools
import logging
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from edgecomp.calibrate import arrays, images
from edgecomp.calibrate.arrays import ArrayFiles, ArrayRows, NpzRows, load_array
from edgecomp.calibrate.feeds import Feed, FeedBuilder, InputLike, shape_and_dtype
from edgecomp.calibrate.images import ImageFolder
from edgecomp.calibrate.iterables import ItemSource, load_script
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import ImageOptions

logger = logging.getLogger(__name__)

DEFAULT_SAMPLES = 300
#: How many feeds a calibration set keeps.
FIRST_FEEDS = 4

Transform = Callable[[Any], Any]


class _Items(Protocol):
    """What a kind of source gives: items for a FeedBuilder."""

    @property
    def total(self) -> int | None:
        """How many feeds they make, None where only reading tells."""

    def __iter__(self) -> Iterator[object]:
        """Items from the beginning."""


class CalibrationSet:
    """Feeds of a model, read anew at each iteration and never held together.

    Attributes:
        requested: most feeds an iteration gives.
        used: how many the last finished iteration gave.
        first: the first few feeds of the latest iteration, for who needs examples of a source
            that can be read only once.
    """

    def __init__(self, items: _Items, inputs: Sequence[InputLike], requested: int) -> None:
        self._items = items
        self._inputs = tuple(inputs)
        self.requested = requested
        self.used = 0
        self.first: list[Feed] = []

    @property
    def total(self) -> int | None:
        """How many feeds an iteration gives, None where only reading tells."""
        known = self._items.total
        return None if known is None else min(known, self.requested)

    @property
    def rereadable(self) -> bool:
        """Whether a second iteration gives samples, as far as can be told."""
        known = getattr(self._items, "rereadable", True)
        return bool(known)

    def source_digests(self) -> Iterator[bytes] | None:
        """One per feed, of the files it is made from; None where only feeds themselves tell."""
        known = getattr(self._items, "source_digests", None)
        return None if known is None else known()

    def read_first(self) -> None:
        """Fill in ``first`` without reading the rest."""
        for _ in itertools.islice(self, FIRST_FEEDS):
            pass

    def __iter__(self) -> Iterator[Feed]:
        count = 0
        self.first = []
        for feed in FeedBuilder(self._inputs).feeds(self._items):
            if count < FIRST_FEEDS:
                self.first.append(feed)
            yield feed
            count += 1
            if count == self.requested:
                break
        if count == 0:
            raise _empty("the calibration set has no samples")
        if count < self.requested and count != self.used:
            logger.warning(
                "%d calibration samples were asked for, %d found", self.requested, count
            )
        self.used = count


def open_calibration(
    source: object,
    inputs: Sequence[InputLike],
    *,
    num_samples: int = DEFAULT_SAMPLES,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    resize: int | None = None,
    transform: Transform | None = None,
) -> CalibrationSet:
    """Open a source of calibration samples.

    Args:
        source: path of a folder of images, of a folder of .npy or .npz files, of one such file
            (rows are samples; one array per input), or of a script with
            ``get_calibration_data()``; an array, a mapping of arrays; or whatever
            ``iterables.ItemSource`` reads.
        inputs: the graph inputs in order, or anything with their names, shapes and dtypes.
        num_samples: most feeds to use; where a source has more and can be indexed they are
            spread evenly over it, else its first ones.
        mean: see ``options.ImageOptions``; only for images.
        std: see ``options.ImageOptions``; only for images.
        resize: see ``options.ImageOptions``; only for images.
        transform: function of an item (a PIL image, a row, what an iterable yields) that
            returns what is fed; for images it replaces resizing and normalization.

    Raises:
        EdgecompError: FILE_MISSING, CALIBRATION_EMPTY, CALIBRATION_INVALID or USAGE; problems
            of single samples come up while they are read.
    """
    if num_samples < 1:
        raise EdgecompError(Code.USAGE, "num_samples must be 1 or more")
    form = ImageOptions(mean=tuple(mean or ()), std=tuple(std or ()), resize=resize)
    items: _Items
    if isinstance(source, (str, pathlib.Path)):
        items = _from_path(pathlib.Path(source), inputs, num_samples, form, transform)
    else:
        items = _from_object(source, inputs, num_samples, transform)
    if form != ImageOptions() and not isinstance(items, ImageFolder):
        raise EdgecompError(
            Code.USAGE,
            "mean, std and resize are for folders of images",
            hint="normalize the arrays before they are written, or use transform",
        )
    return CalibrationSet(items, inputs, num_samples)


def _from_path(
    path: pathlib.Path,
    inputs: Sequence[InputLike],
    samples: int,
    form: ImageOptions,
    transform: Transform | None,
) -> _Items:
    if not path.exists():
        raise EdgecompError(Code.FILE_MISSING, "no such file or folder", path=str(path))
    if path.is_dir():
        return _from_folder(path, inputs, samples, form, transform)
    suffix = path.suffix.lower()
    if suffix in images.SUFFIXES:
        return ImageFolder([path], inputs, form, samples, transform)
    if suffix == ".npz":
        return _transformed(NpzRows(path, inputs, samples), transform)
    if suffix == ".npy":
        array = load_array(path, mapped=True)
        return _from_array(array, inputs, samples, transform, str(path))
    if suffix == ".py":
        return ItemSource(load_script(path), transform, path)
    raise EdgecompError(
        Code.CALIBRATION_INVALID,
        f"'{path.suffix or path.name}' is no kind of calibration data",
        path=str(path),
        hint="use a folder of images, a .npy or .npz file, or a .py script",
    )


def _from_folder(
    path: pathlib.Path,
    inputs: Sequence[InputLike],
    samples: int,
    form: ImageOptions,
    transform: Transform | None,
) -> _Items:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    pictures = [file for file in files if file.suffix.lower() in images.SUFFIXES]
    tensors = [file for file in files if file.suffix.lower() in arrays.SUFFIXES]
    if pictures and tensors:
        raise EdgecompError(
            Code.CALIBRATION_INVALID,
            f"the folder has {len(pictures)} images and {len(tensors)} arrays",
            path=str(path),
            hint="put them into two folders and name one",
        )
    if pictures:
        return ImageFolder(pictures, inputs, form, samples, transform)
    if tensors:
        return _transformed(ArrayFiles(tensors, inputs, samples), transform)
    raise _empty("the folder has no images and no .npy or .npz files", path)


def _from_object(
    source: object, inputs: Sequence[InputLike], samples: int, transform: Transform | None
) -> _Items:
    if isinstance(source, np.ndarray):
        return _from_array(source, inputs, samples, transform)
    if isinstance(source, Mapping) and source:
        if all(isinstance(value, np.ndarray) for value in source.values()):
            return _transformed(ArrayRows(source, inputs, samples), transform)
    return ItemSource(source, transform)


def _from_array(
    array: Any,
    inputs: Sequence[InputLike],
    samples: int,
    transform: Transform | None,
    path: str = "",
) -> _Items:
    if len(inputs) != 1:
        raise EdgecompError(
            Code.CALIBRATION_INVALID,
            f"one array cannot feed a model of {len(inputs)} inputs",
            path=path,
            hint="use a .npz file with one array per input",
        )
    (spec,) = inputs
    shape, _ = shape_and_dtype(spec)
    if shape and not array.ndim:
        raise EdgecompError(
            Code.CALIBRATION_INVALID,
            f"one number is no sample of input '{spec.name}', which takes {list(shape)}",
            path=path,
            hint="the first dimension of the array counts the samples",
        )
    # One sample without a batch dimension, or a model without one.
    if array.shape in (shape[1:], shape):
        return _transformed(ItemSource([array]), transform)
    return _transformed(
        ArrayRows({str(spec.name): array}, inputs, samples, bare=True), transform
    )


def _transformed(items: _Items, transform: Transform | None) -> _Items:
    return items if transform is None else ItemSource(items, transform)


def _empty(cause: str, path: pathlib.Path | None = None) -> EdgecompError:
    return EdgecompError(
        Code.CALIBRATION_EMPTY,
        cause,
        path=str(path or ""),
        hint="a hundred typical inputs are enough",
    )
