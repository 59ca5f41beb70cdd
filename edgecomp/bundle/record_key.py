"""The key of a record: all that decides what a build makes, or none where that is not known.

That is the contents of the model's and the calibration files, the options, the target, the versions
of the packages and edgecomp's own sources (so that a record of another form is never read). Where
something else could decide (a module in memory, a calibration script), there is no key.
"""

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import mmap
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from edgecomp.device.target import Target
from edgecomp.file_hash import file_sha256
from edgecomp.options import BuildOptions
from edgecomp.resources import resource_folder

#: Packages whose versions decide what comes out.
_PACKAGES = (
    "apache-tvm", "apache-tvm-ffi", "ml_dtypes", "numpy", "onnx", "onnx-ir", "onnxruntime",
    "pillow", "torch",
)  # fmt: skip
#: Options that say where and how a bundle is written, not what is in its plan.
_WRITING = (
    "output", "force", "cache_dir", "toolchain", "embed_weights", "save_recipe",
)  # fmt: skip
_MODEL_FILES = (".onnx", ".pt2")


def record_key(source: Any, options: BuildOptions, target: Target, compiler: str = "") -> str:
    """Key of a build, "" where its inputs are not all files with fixed contents.

    Args:
        source: the model as given to ``build``.
        options: all of the build's.
        target: resolved, so that another host is another target.
        compiler: what the compiler of the target's GPU says about itself, "" where none is needed.
    """
    if (
        not isinstance(source, (str, pathlib.Path))
        or options.dump_passes
        or options.verify_passes
    ):
        return ""
    try:
        contents = _contents(
            pathlib.Path(source),
            options.calibration_data,
            [path for path in (options.recipe, *_table_file(options.cost_table)) if path],
        )
    except OSError:  # the steps that need the file say what is wrong with it
        contents = []
    if not contents:
        return ""
    chosen = {k: v for k, v in dataclasses.asdict(options).items() if k not in _WRITING}
    facts = [
        chosen,
        str(source) if not options.name else "",  # the model's name comes from the file's
        dataclasses.asdict(target),
        _versions(),
        _own_sources(),
        contents,
        compiler,
    ]
    text = json.dumps(facts, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _contents(
    model: pathlib.Path, calibration: str | None, others: Sequence[pathlib.Path]
) -> list[tuple[str, str]]:
    """Name and hash of every file that is read; empty where something else is read too.

    Raises:
        OSError: one of them cannot be read.
    """
    files = [*_model_files(model), *_calibration_files(calibration), *others]
    if None in files:
        return []
    return [(path.name, file_sha256(path)) for path in files if path is not None]


def _table_file(table: str) -> list[pathlib.Path]:
    return [] if table in ("", "none") else [pathlib.Path(table)]


def _plain(value: object) -> object:
    """Sets in an order, because that of their own differs from process to process."""
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)


def _model_files(path: pathlib.Path) -> Iterator[pathlib.Path | None]:
    """The model's file and those with its weights; None where that is not all there is."""
    if path.suffix not in _MODEL_FILES or not path.is_file():
        yield None
        return
    yield path
    # Without the word there is no tensor that lies in another file.
    if path.suffix == ".onnx" and _holds(path, b"location"):
        yield from _external_files(path)


def _holds(path: pathlib.Path, word: bytes) -> bool:
    """Whether a word is in a file, which is looked through where the system has it."""
    if not path.stat().st_size:
        return False
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return content.find(word) >= 0


def _external_files(path: pathlib.Path) -> Iterator[pathlib.Path | None]:
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, _get_all_tensors

    try:
        proto = onnx.load(path, load_external_data=False)
        places = {
            ExternalDataInfo(tensor).location
            for tensor in _get_all_tensors(proto)
            if tensor.data_location == onnx.TensorProto.EXTERNAL
        }
    except Exception:  # not a model: the front end says what is wrong with it
        yield None
        return
    for place in sorted(places):
        file = path.parent / place
        yield file if file.is_file() else None


def _calibration_files(given: str | None) -> Iterator[pathlib.Path | None]:
    """All files of a calibration set; None where a script decides what is read."""
    if given is None:
        return
    path = pathlib.Path(given)
    if path.is_dir():
        yield from sorted(file for file in path.rglob("*") if file.is_file())
    else:
        yield path if path.suffix in (".npy", ".npz") and path.is_file() else None


@functools.cache
def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = ""
    return found


@functools.cache
def _own_sources() -> str:
    """Of every Python file of edgecomp and of the tables that it chooses by."""
    package = pathlib.Path(__file__).parents[1]
    digest = hashlib.sha256()
    tuned = resource_folder("targets") / "tuned"
    for path in [*sorted(package.rglob("*.py")), *sorted(tuned.glob("*"))]:
        digest.update(f"{path.name}\0{file_sha256(path)}\0".encode())
    return digest.hexdigest()
