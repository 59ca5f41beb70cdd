"""Calibration samples from .npy and .npz files, read row by row."""

import io
import pathlib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from edgecomp.calibrate.feeds import InputLike, shape_and_dtype
from edgecomp.calibrate.select import spread
from edgecomp.errors import Code, EdgecompError, nearest_hint
from edgecomp.graph.constants import AnyArray
from edgecomp.numpy_files import why_unreadable

SUFFIXES = frozenset({".npy", ".npz"})


class ArrayRows:
    """Rows of arrays in memory, or of a mapped .npy file: one array per input.

    Items are mappings, or the row itself where ``bare`` says that there is just one array.
    """

    def __init__(
        self,
        arrays: Mapping[str, AnyArray],
        inputs: Sequence[InputLike],
        samples: int,
        *,
        bare: bool = False,
    ) -> None:
        counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
        if len(set(counts.values())) > 1:
            raise EdgecompError(
                Code.CALIBRATION_INVALID,
                "the calibration arrays have different numbers of rows: "
                + ", ".join(f"{name} {count}" for name, count in counts.items()),
            )
        batch = _rows_per_feed({name: array.shape for name, array in arrays.items()}, inputs)
        self._arrays = arrays
        self._bare = bare
        self._indices = spread(min(counts.values(), default=0), samples * batch)
        self.total = len(self._indices) // batch

    def __iter__(self) -> Iterator[object]:
        for index in self._indices:
            row = {name: np.array(array[index]) for name, array in self._arrays.items()}
            yield next(iter(row.values())) if self._bare else row


class NpzRows:
    """Rows of the arrays in a .npz file, decompressed one row at a time."""

    def __init__(self, path: pathlib.Path, inputs: Sequence[InputLike], samples: int) -> None:
        self._path = path
        self._names = _array_names(path, inputs)
        shapes = {name: _header(path, member)[0] for name, member in self._names.items()}
        counts = {name: shape[:1] for name, shape in shapes.items()}
        batch = _rows_per_feed(shapes, inputs)
        if len(set(counts.values())) > 1 or () in counts.values():
            raise EdgecompError(
                Code.CALIBRATION_INVALID,
                "the arrays have different numbers of rows: "
                + ", ".join(f"{name} {list(count)}" for name, count in counts.items()),
                path=str(path),
            )
        (available,) = next(iter(counts.values()))
        self._indices = spread(available, samples * batch)
        self.total = len(self._indices) // batch

    def __iter__(self) -> Iterator[object]:
        rows = [
            _npz_rows(self._path, member, self._indices) for member in self._names.values()
        ]
        for parts in zip(*rows, strict=True):
            yield dict(zip(self._names, parts, strict=True))


class ArrayFiles:
    """A folder of .npy and .npz files, each one sample or one batch."""

    def __init__(
        self, paths: Sequence[pathlib.Path], inputs: Sequence[InputLike], samples: int
    ) -> None:
        batch = _batch(inputs)
        self._paths = [paths[index] for index in spread(len(paths), samples * batch)]
        self.total = None

    def __iter__(self) -> Iterator[object]:
        for path in self._paths:
            loaded = load_array(path)
            if isinstance(loaded, np.ndarray):
                yield loaded
                continue
            with loaded as file:
                yield {name: file[name] for name in file.files}


def load_array(path: pathlib.Path, *, mapped: bool = False) -> Any:
    """A .npy array or an open .npz file; pickled objects are refused."""
    try:
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error


def _rows_per_feed(shapes: Mapping[str, tuple[int, ...]], inputs: Sequence[InputLike]) -> int:
    """1 where a row has an input's whole shape, else the model's batch."""
    whole = {spec.name: shape_and_dtype(spec)[0] for spec in inputs}
    if any(shape[1:] == whole.get(name) for name, shape in shapes.items()):
        return 1
    return _batch(inputs)


def _batch(inputs: Sequence[InputLike]) -> int:
    shape = shape_and_dtype(inputs[0])[0] if inputs else ()
    return max(1, shape[0]) if shape else 1


def _array_names(path: pathlib.Path, inputs: Sequence[InputLike]) -> dict[str, str]:
    """Input name -> name of its member in the archive.

    A single array may have any name where the model has one input.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error
    wanted = [spec.name or "" for spec in inputs]
    if len(wanted) == 1 and len(members) == 1:
        return {wanted[0]: next(iter(members.values()))}
    for name in wanted:
        if name not in members:
            raise EdgecompError(
                Code.CALIBRATION_INVALID,
                f"no array for input '{name}'",
                path=str(path),
                hint=nearest_hint(name, members) if members else "",
            )
    for name in members:
        if name not in wanted:
            raise EdgecompError(
                Code.CALIBRATION_INVALID,
                f"the array '{name}' is no input of the model",
                path=str(path),
                hint=nearest_hint(name, wanted),
            )
    return {name: members[name] for name in wanted}


def _header(path: pathlib.Path, member: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and dtype of an array in an archive."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            return _read_header(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error


def _read_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        header = np.lib.format.read_array_header_1_0(file)
    else:
        header = np.lib.format.read_array_header_2_0(file)
    if header[2].hasobject:
        raise ValueError("pickled objects are not read")
    return header


def _npz_rows(path: pathlib.Path, member: str, indices: Sequence[int]) -> Iterator[AnyArray]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            shape, fortran, dtype = _read_header(file)
            if fortran:
                # Rows are not contiguous: only the whole array can be read.
                file.seek(0)
                whole = np.load(io.BytesIO(file.read()), allow_pickle=False)
                yield from (np.array(whole[index]) for index in indices)
                return
            row_bytes = int(np.prod(shape[1:])) * dtype.itemsize
            position = 0
            for index in indices:
                _skip(file, (index - position) * row_bytes)
                content = _read_exactly(file, row_bytes)
                yield np.frombuffer(content, dtype).reshape(shape[1:])
                position = index + 1
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error


def _read_exactly(file: Any, count: int) -> bytes:
    content: bytes = file.read(count)
    if len(content) != count:
        raise EOFError("the array is cut off")
    return content


def _skip(file: Any, count: int) -> None:
    """Read past bytes in pieces: seeking in a compressed member would hold them all."""
    while count > 0:
        count -= len(file.read(min(count, 1 << 20))) or count


def _unreadable(path: pathlib.Path, error: Exception) -> EdgecompError:
    return EdgecompError(
        Code.CALIBRATION_INVALID,
        f"cannot read the arrays: {why_unreadable(path, error)}",
        path=str(path),
        hint="write it with numpy.save or numpy.savez, without Python objects",
    )
