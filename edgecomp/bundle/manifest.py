"""manifest.json: what a bundle holds, for programs. Written sorted, read with checks.

Nothing in it depends on the time or on the machine: two builds of one model give the same text.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgecomp.errors import Code, EdgecompError

FORMAT = "edgecomp-bundle"
#: Raised when a reader of the older number could misread the file.
SCHEMA = 2
NAME = "manifest.json"


@dataclasses.dataclass(frozen=True)
class Port:
    """An input or output as the user sees it: contiguous, ONNX order.

    Attributes:
        name: ONNX name.
        dtype: numpy name.
        shape: static shape, the largest of a dynamic one.
        dimensions: of a dynamic shape: numbers and expressions of ``Manifest.dynamic``; empty
            where the shape is always the same.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    dimensions: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class FileFacts:
    """One file of the bundle."""

    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class TargetFacts:
    """What the kernels were compiled for.

    Attributes:
        name: of the target file.
        isa: ``x86_64``, ``aarch64`` or ``armv7``.
        features: instruction sets that the processor must have.
        triple: LLVM triple, "" for the host's own.
    """

    name: str
    isa: str
    features: tuple[str, ...]
    triple: str


@dataclasses.dataclass(frozen=True)
class WeightsFacts:
    """The weights file.

    Attributes:
        file: path in the bundle.
        bytes: length.
        xxh3: hash that the runtime checks, 16 hexadecimal digits.
        embedded: whether the libraries hold the weights themselves.
    """

    file: str
    bytes: int
    xxh3: str
    embedded: bool


@dataclasses.dataclass(frozen=True)
class BuildFacts:
    """What the C toolchain made.

    Attributes:
        compiler: first line of the compiler's ``--version``, "" without one.
        shared, static, runner: paths in the bundle, "" where not built.
        note: why something was not built, or "".
    """

    compiler: str = ""
    shared: str = ""
    static: str = ""
    runner: str = ""
    note: str = ""


@dataclasses.dataclass(frozen=True)
class MemoryFacts:
    """Memory of a session, in bytes.

    Attributes:
        arena_bytes: for all activations.
        arena_bound_bytes: largest sum of tensors alive at once; no plan can be smaller.
        workspace_bytes: scratch per thread.
    """

    arena_bytes: int
    arena_bound_bytes: int
    workspace_bytes: int


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The whole file.

    Attributes:
        name: C identifier of the model.
        versions: package -> version the bundle was made with.
        target, inputs, outputs, weights, build, memory: see their classes.
        sizes: kind -> bytes (weights, kernels, runtime, shared_library ...).
        golden_vectors: how many there are.
        passes: names of the passes applied, in order.
        quantization, accuracy: facts that the steps before found.
        files: path in the bundle, ``/`` separated -> size and hash; all but the manifest.
        dynamic: name of a dynamic dimension -> its bounds.
        counted: those of ``dynamic`` whose size the data decides.
        devices: other than the processor, that calls run on.
        cpu_plan: whether it runs on the processor alone where one of these is missing.
        shaders: of kernels for an app's own GPU code: ``language``, and the paths ``source`` and
            ``table``; empty for none.
    """

    name: str
    versions: dict[str, str]
    target: TargetFacts
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    weights: WeightsFacts
    build: BuildFacts
    memory: MemoryFacts
    sizes: dict[str, int]
    golden_vectors: int
    passes: tuple[str, ...]
    quantization: dict[str, Any]
    accuracy: dict[str, Any]
    files: dict[str, FileFacts]
    dynamic: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    counted: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    cpu_plan: bool = False
    shaders: dict[str, str] = dataclasses.field(default_factory=dict)


def to_json(manifest: Manifest) -> str:
    """The file's text: sorted keys, so that equal facts give equal bytes."""
    content = {"format": FORMAT, "schema": SCHEMA, **dataclasses.asdict(manifest)}
    if not manifest.dynamic:  # a static bundle says nothing of what it has not
        del content["dynamic"]
        for port in (*content["inputs"], *content["outputs"]):
            del port["dimensions"]
    if not manifest.counted:
        del content["counted"]
    if not manifest.devices:
        del content["devices"], content["cpu_plan"]
    if not manifest.shaders:
        del content["shaders"]
    return (
        json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, default=plain) + "\n"
    )


def plain(value: object) -> object:
    """A number of numpy's as one of Python's, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} cannot be written as JSON")


def read_manifest(directory: pathlib.Path) -> Manifest:
    """Read and check the manifest of a bundle.

    Raises:
        EdgecompError: FILE_MISSING, BUNDLE_INVALID or BUNDLE_VERSION.
    """
    path = directory / NAME
    if not directory.exists():
        raise EdgecompError(Code.FILE_MISSING, "there is no such bundle", path=str(directory))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise _invalid("it has no manifest.json", directory) from None
    except (OSError, ValueError, RecursionError) as error:
        raise _invalid(f"its manifest cannot be read: {error}", path) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _invalid(f'its manifest does not say "format": "{FORMAT}"', path)
    if content.get("schema") != SCHEMA:
        raise EdgecompError(
            Code.BUNDLE_VERSION,
            f"the bundle has layout {content.get('schema')}, this edgecomp reads {SCHEMA}",
            path=str(path),
            hint="build the bundle again with this version, or use the version that made it",
        )
    try:
        return _from_dict(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _invalid(f"its manifest has a missing or wrong entry: {error}", path) from None


def _invalid(why: str, path: pathlib.Path) -> EdgecompError:
    return EdgecompError(
        Code.BUNDLE_INVALID,
        f"this is not an edgecomp bundle: {why}",
        path=str(path),
        hint="give the folder that 'edgecomp build -o' wrote",
    )


def _from_dict(content: Mapping[str, Any]) -> Manifest:
    target = dict(content["target"])
    manifest = Manifest(
        name=_text(content["name"]),
        versions=dict(content["versions"]),
        target=TargetFacts(**{**target, "features": tuple(target["features"])}),
        inputs=tuple(_port(p) for p in content["inputs"]),
        outputs=tuple(_port(p) for p in content["outputs"]),
        weights=WeightsFacts(**content["weights"]),
        build=BuildFacts(**content["build"]),
        memory=MemoryFacts(**content["memory"]),
        sizes=dict(content["sizes"]),
        golden_vectors=int(content["golden_vectors"]),
        passes=tuple(content["passes"]),
        quantization=dict(content["quantization"]),
        accuracy=dict(content["accuracy"]),
        files={_inside(k): FileFacts(**v) for k, v in content["files"].items()},
        dynamic={
            _text(name): (int(low), int(high))
            for name, (low, high) in content.get("dynamic", {}).items()
        },
        counted=tuple(map(_text, content.get("counted", ()))),
        devices=tuple(map(_text, content.get("devices", ()))),
        cpu_plan=bool(content.get("cpu_plan", False)),
        shaders={_text(k): _text(v) for k, v in content.get("shaders", {}).items()},
    )
    built = (manifest.build.shared, manifest.build.static, manifest.build.runner)
    shaders = (manifest.shaders[k] for k in ("source", "table") if manifest.shaders)
    for path in (manifest.weights.file, *(b for b in built if b), *shaders):
        if path not in manifest.files:
            raise ValueError(f"{path!r} is not in its list of files")
    return manifest


def _port(content: Mapping[str, Any]) -> Port:
    return Port(
        _text(content["name"]),
        _text(content["dtype"]),
        tuple(int(d) for d in content["shape"]),
        tuple(_text(d) for d in content.get("dimensions", ())),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _inside(path: str) -> str:
    """A path that stays in the bundle: a manifest from elsewhere must not name other files."""
    parts = pathlib.PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise ValueError(f"the file name {path!r} leaves the bundle")
    return path
