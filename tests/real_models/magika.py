"""magika 1.0.3: the type of a file from its first and last 1,024 bytes.

Every file of the Python installation whose extension names its type is labelled data.
"""

import functools
import hashlib
import importlib.util
import json
import pathlib
import sysconfig

import numpy as np

from real_models.model import RealModel

_WINDOW = 1024
_PADDING = 256
_BLOCK = 4096
#: Of each extension so many files come before the next of another: most of an installation is
#: Python.
_FILES_PER_EXTENSION = 40
_CALIBRATION = 100
_SAMPLES = 500


def _folder():
    """The package's folder; it is found, not imported, because importing it starts a session."""
    return pathlib.Path(importlib.util.find_spec("magika").origin).parent


def onnx_file(folder):
    """The model as shipped."""
    return _folder() / "models" / "standard_v3_3" / "model.onnx"


def features(content: bytes) -> np.ndarray:
    """int32 [2048]: the start without leading blanks, padded on the right, then the end."""
    start = content[:_BLOCK].lstrip()[:_WINDOW]
    end = content[-_BLOCK:].rstrip()[-_WINDOW:]
    values = np.full(2 * _WINDOW, _PADDING, np.int32)
    values[: len(start)] = np.frombuffer(start, np.uint8)
    if end:
        values[-len(end) :] = np.frombuffer(end, np.uint8)
    return values


@functools.cache
def _labels():
    """Names of the 214 outputs, and what each is published as."""
    facts = json.loads(
        (_folder() / "models" / "standard_v3_3" / "config.min.json").read_text()
    )
    names = facts["target_labels_space"]
    return [facts["overwrite_map"].get(name, name) for name in names]


@functools.cache
def _types_of_extension():
    """Extension -> labels that a file of it may have."""
    types = json.loads((_folder() / "config" / "content_types_kb.min.json").read_text())
    found: dict[str, set[str]] = {}
    for label, facts in types.items():
        for extension in facts["extensions"]:
            found.setdefault(extension, set()).add(label)
    return {
        extension: labels for extension, labels in found.items() if labels & set(_labels())
    }


@functools.cache
def _files():
    """Paths of all labelled files: an order that depends on their names alone.

    Without what Python compiled, which comes and goes.
    """
    root = pathlib.Path(sysconfig.get_paths()["stdlib"])
    package = pathlib.Path(sysconfig.get_paths()["purelib"])
    counts: dict[str, int] = {}
    rounds: dict[int, list[pathlib.Path]] = {}
    found = {
        (path.relative_to(base).as_posix(), path)
        for base in (root, package)
        for path in base.rglob("*.*")
        if path.suffix[1:].lower() in _types_of_extension() and path.suffix != ".pyc"
    }
    for _, path in sorted(found, key=lambda item: hashlib.sha256(item[0].encode()).digest()):
        if not path.is_file() or path.stat().st_size < 64:
            continue
        extension = path.suffix[1:].lower()
        count = counts[extension] = counts.get(extension, 0) + 1
        rounds.setdefault((count - 1) // _FILES_PER_EXTENSION, []).append(path)
    return [path for number in sorted(rounds) for path in rounds[number]]


def calibration():
    """The first files."""
    return [feed(path) for path in _files()[:_CALIBRATION]]


def files(count=_SAMPLES):
    """Paths of others."""
    return _files()[_CALIBRATION : _CALIBRATION + count]


def feed(path):
    """Input of a file."""
    return {"bytes": features(path.read_bytes())[None]}


def is_right(path, output):
    """Whether the label of the largest number belongs to the file's extension."""
    label = _labels()[int(output.argmax())]
    return label in _types_of_extension()[path.suffix[1:].lower()]


def score(outputs):
    """Share of files whose label belongs to their extension."""
    right = [is_right(path, output) for path, (output,) in zip(files(), outputs, strict=True)]
    return {"accuracy %": 100 * float(np.mean(right)), "files": float(len(right))}


MODEL = RealModel(
    name="magika",
    packages={"magika==1.0.3": "magika"},
    onnx=onnx_file,
    inputs=("bytes:1x2048",),
    calibration=calibration,
    samples=lambda: [feed(path) for path in files()],
    score=score,
)
