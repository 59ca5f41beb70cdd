"""Files that the user gives as inputs of a model."""

import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from edgecomp.bench.files import Port, allows
from edgecomp.errors import Code, EdgecompError, nearest_hint
from edgecomp.images import SUFFIXES, read_image
from edgecomp.numpy_files import why_unreadable
from edgecomp.options import ImageOptions
from edgecomp.plan.values import Array


def read_inputs(
    texts: Sequence[str], ports: Sequence[Port], images: ImageOptions
) -> dict[str, Array]:
    """Read ``[NAME=]FILE`` for every input.

    Args:
        texts: as given to ``--input-file``.
        ports: the model's inputs.
        images: how pictures are prepared.

    Returns:
        Input name -> array of the input's shape and dtype.

    Raises:
        EdgecompError: ``USAGE`` or ``INPUT_MISMATCH`` that names the input, ``FILE_MISSING``.
    """
    known = {port.name: port for port in ports}
    arrays: dict[str, Array] = {}
    for text in texts:
        for name, array in _read(text, known, images).items():
            if name in arrays:
                raise EdgecompError(
                    Code.USAGE,
                    f"--input-file: '{name}' is given twice",
                    hint="the form is NAME=FILE, once per input",
                )
            arrays[name] = _fitting(array, name, known, _split(text, known)[1])
    missing = [port for port in ports if port.name not in arrays]
    if missing:
        raise EdgecompError(
            Code.INPUT_MISMATCH,
            "no contents for " + ", ".join(_describe(port) for port in missing),
            hint=f"add --input-file {missing[0].name}=FILE.npy",
        )
    return arrays


def _read(text: str, known: Mapping[str, Port], images: ImageOptions) -> dict[str, Array]:
    name, path = _split(text, known)
    if not path.is_file():
        raise EdgecompError(
            Code.FILE_MISSING,
            "no such input file",
            path=str(path),
            hint="the form is --input-file [NAME=]FILE",
        )
    if path.suffix == ".npz" and not name:
        return _load_npz(path)
    if not name and len(known) != 1:
        raise EdgecompError(
            Code.USAGE,
            f"--input-file {text}: the model has {len(known)} inputs, say which",
            hint="the form is NAME=FILE; names: " + ", ".join(known),
        )
    port = known[name] if name else next(iter(known.values()))
    return {port.name: _load(path, port, images)}


def _fitting(array: Array, name: str, known: Mapping[str, Port], path: pathlib.Path) -> Array:
    """The array, after looking at what the model takes; here the file can be named."""
    if name not in known:
        raise EdgecompError(
            Code.INPUT_MISMATCH,
            f"the model has no input '{name}'",
            node=name,
            path=str(path),
            hint=nearest_hint(name, known),
        )
    port = known[name]
    shape, dtype = tuple(port.shape), _dtype(port.dtype)
    if array.dtype == dtype and allows(port, array.shape):
        return array
    hint = f"convert it: array.astype('{port.dtype}')"
    if array.shape != shape:
        same = array.size == math.prod(shape)
        hint = "reshape or transpose it"
        if not same:
            hint = "the shape is fixed when a bundle is built"
            if port.dimensions:
                hint = "a bundle serves the sizes in the bounds it was built with"
    raise EdgecompError(
        Code.INPUT_MISMATCH,
        f"the array is {array.dtype}{list(array.shape)}, {_describe(port)} is another",
        node=name,
        path=str(path),
        hint=hint,
    )


def _split(text: str, known: Mapping[str, Port]) -> tuple[str, pathlib.Path]:
    """Name ("" when left out) and path; both may hold ``=`` themselves."""
    for name in known:
        if text.startswith(f"{name}="):
            return name, pathlib.Path(text[len(name) + 1 :])
    name, equals, rest = text.partition("=")
    if equals and not pathlib.Path(text).exists() and pathlib.Path(rest).exists():
        raise EdgecompError(
            Code.INPUT_MISMATCH, f"no input named '{name}'", hint=nearest_hint(name, known)
        )
    return "", pathlib.Path(text)


def _load(path: pathlib.Path, port: Port, images: ImageOptions) -> Array:
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return read_image(path, tuple(port.shape), port.dtype, images)
    if suffix == ".npy":
        return _load_npy(path)
    if suffix == ".npz":
        return _pick(_load_npz(path), port, path)
    if suffix in (".bin", ".raw"):
        return _load_raw(path, port)
    raise EdgecompError(
        Code.USAGE,
        f"the suffix '{path.suffix}' is not known",
        path=str(path),
        hint="known: .npy .npz .bin .raw " + " ".join(sorted(SUFFIXES)),
    )


def _load_npy(path: pathlib.Path) -> Array:
    try:
        # Never pickles: a file of inputs must not run code.
        array: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(path, error) from error
    return array


def _load_npz(path: pathlib.Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # zip, zlib and numpy each have their own
        raise _unreadable(path, error) from error


def _pick(arrays: Mapping[str, Array], port: Port, path: pathlib.Path) -> Array:
    if port.name in arrays:
        return arrays[port.name]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise EdgecompError(
        Code.INPUT_MISMATCH,
        f"the file has no array '{port.name}'",
        path=str(path),
        hint=nearest_hint(port.name, arrays),
    )


def _load_raw(path: pathlib.Path, port: Port) -> Array:
    dtype = _dtype(port.dtype)
    wanted = dtype.itemsize * math.prod(port.shape)
    content = path.read_bytes()
    if len(content) != wanted:
        raise EdgecompError(
            Code.INPUT_MISMATCH,
            f"the file has {len(content)} bytes, {_describe(port)} takes {wanted}",
            node=port.name,
            path=str(path),
            hint="give an .npy file, which knows its shape"
            if port.dimensions
            else "it holds the elements only, little-endian and row-major",
        )
    return np.frombuffer(content, dtype).reshape(port.shape)


def _dtype(name: str) -> np.dtype[np.generic]:
    """A dtype of numpy, or one of those that ml_dtypes adds (bfloat16)."""
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, name, name))


def _describe(port: Port) -> str:
    bounds = port.dimensions or [str(d) for d in port.shape]
    dims = "x".join(
        str(most) if dimension.isdigit() else f"[{dimension}, at most {most}]"
        for dimension, most in zip(bounds, port.shape, strict=True)
    )
    dims = dims or "scalar"
    return f"input '{port.name}' ({port.dtype} {dims})"


def _unreadable(path: pathlib.Path, error: Exception) -> EdgecompError:
    return EdgecompError(
        Code.USAGE,
        f"cannot be read as numpy file: {why_unreadable(path, error)}",
        path=str(path),
        hint="write it with numpy.save or numpy.savez, without Python objects",
    )
