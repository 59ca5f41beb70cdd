"""Keep what a build worked out, so that the same build again only has to write it.

A record holds everything that ``write_bundle`` takes. Its key is made of all that decides it:
the contents of the model's and the calibration files, the options, the target, the versions of
the packages and edgecomp's own sources (so that a record of another form is never read). Where
something else could decide (a module in memory, a calibration script), there is no key and
nothing is kept.
"""

import base64
import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import itertools
import json
import mmap
import os
import pathlib
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from edgecomp.buffers import Buffer, BufferReader, MappedFile, mapped_file, pieces
from edgecomp.cache import (
    HashedStream,
    keep_beside,
    keep_written,
    kept_beside,
    kept_buffer,
    trim,
)
from edgecomp.cache_folder import cache_folder
from edgecomp.device.target import Target
from edgecomp.file_hash import file_sha256
from edgecomp.options import BuildOptions
from edgecomp.plan.plan import (
    DynamicCall,
    Extent,
    Launch,
    LaunchKind,
    Plan,
    PlanCall,
    PlanCount,
    PlanPort,
    PlanProgram,
    PlanRegion,
    PlanSymbol,
    PlanTensor,
    RegionKind,
    ShaderCall,
    ShaderPlan,
    Storage,
)
from edgecomp.plan.values import Array
from edgecomp.resources import resource_folder

#: Records together take at most this much; the ones that were not used for longest go first.
MOST_BYTES = 2 << 30
#: A record larger than this is not kept.
MOST_RECORD_BYTES = 512 << 20
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
#: Fields of a plan that are JSON as they are.
_PLAIN = ("name", "target", "arena_bytes", "arena_bound_bytes")
#: What a record holds in one piece: weights, the portable model and the data beside it.
_BUFFERS = ("weights", "model", "data")
#: Of the header in front of a file of a zip archive: its length without the two fields of free
#: length at its end, and where their lengths stand.
_HEADER_BYTES, _LENGTHS_AT = 30, 26


@dataclasses.dataclass(frozen=True)
class Record:
    """What ``write_bundle`` takes.

    Attributes:
        plan: kernels and weights included.
        model_bytes: the portable model.
        model_data: weights beside it, see ``write_bundle``.
        golden: pairs of inputs and expected outputs.
        facts: JSON, as for ``write_bundle``.
    """

    plan: Plan
    model_bytes: Buffer
    model_data: Buffer
    golden: list[tuple[dict[str, Array], dict[str, Array]]]
    facts: dict[str, Any]


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


def keep_record(key: str, record: Record, cache: pathlib.Path | None) -> None:
    """Store a record, and drop old ones where all together take too much."""
    if not key:
        return
    if sum(map(len, _buffers(record))) <= MOST_RECORD_BYTES:
        folder = _folder(cache)
        for name, mapped in _mapped(record).items():
            keep_beside(folder / f"{key}.{name}", mapped)
        keep_written(folder / key, lambda stream: _pack(record, stream))
        trim(folder, MOST_BYTES)


@contextlib.contextmanager
def keeping(key: str, record: Record, cache: pathlib.Path | None) -> Iterator[None]:
    """Store a record while the block runs: most of the time the disk is waited for in both."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        stored = pool.submit(keep_record, key, record, cache)
        yield
        stored.result()


def find_record(key: str, cache: pathlib.Path | None) -> Record | None:
    """The record of a key, None where there is none or the disk has damaged it."""
    path = _folder(cache) / key
    content = kept_buffer(path) if key else None
    if content is None:
        return None
    with contextlib.suppress(OSError):  # a cache that may only be read
        os.utime(path)
    return _unpack(content, path)


def _folder(cache: pathlib.Path | None) -> pathlib.Path:
    return (cache or cache_folder()) / "builds"


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


def _pack(record: Record, stream: HashedStream) -> None:
    """A zip of plain files, nothing compressed."""
    plan = record.plan
    header: dict[str, Any] = {
        "plans": [_packed_plan(each) for each in plan.plans],
        "shaders": plan.shaders and _packed_shaders(plan.shaders),
        "beside": {name: mapped.sha256() for name, mapped in _mapped(record).items()},
        "objects": list(plan.objects),
        "golden": [[list(given), list(expected)] for given, expected in record.golden],
        "facts": record.facts,
    }
    file_like: Any = stream  # it has what zipfile uses of a file
    with zipfile.ZipFile(file_like, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("header.json", json.dumps(header))
        for name, buffer in zip(_BUFFERS, _buffers(record), strict=True):
            if name in header["beside"]:
                continue
            with archive.open(name, "w") as file:
                for piece in pieces(buffer):
                    file.write(piece)
        for name, content in plan.objects.items():
            archive.writestr(f"objects/{name}", content)
        for number, array in enumerate(_arrays(record.golden)):
            with archive.open(f"golden/{number}", "w") as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)


def _mapped(record: Record) -> dict[str, MappedFile]:
    """What is a file already, and lies beside the record, by its name in ``_BUFFERS``."""
    found = zip(_BUFFERS, map(mapped_file, _buffers(record)), strict=True)
    return {name: mapped for name, mapped in found if mapped is not None}


def _buffers(record: Record) -> tuple[Buffer, Buffer, Buffer]:
    return record.plan.weights, record.model_bytes, record.model_data


def _arrays(
    golden: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]],
) -> Iterator[Array]:
    for pair in golden:
        for arrays in pair:
            yield from arrays.values()


def _unpack(content: Buffer, path: pathlib.Path) -> Record | None:
    """None where what lies beside the record's file is not what it was."""
    with zipfile.ZipFile(BufferReader(content)) as archive:
        header = json.loads(archive.read("header.json"))
        buffers = []
        for name in _BUFFERS:
            digest = header["beside"].get(name)
            if digest is None:
                buffers.append(_stored(archive, name, content))
                continue
            beside = kept_beside(path.with_name(f"{path.name}.{name}"), digest)
            if beside is None:
                return None
            buffers.append(beside)
        weights, proto, data = buffers
        own, *others = map(_plan, header["plans"])
        objects = {name: archive.read(f"objects/{name}") for name in header["objects"]}
        plan = dataclasses.replace(
            own,
            weights=weights,
            objects=objects,
            cpu_plan=others[0] if others else None,
            shaders=header["shaders"] and _shaders(header["shaders"]),
        )
        numbers = itertools.count()

        def read(names: Sequence[str]) -> dict[str, Array]:
            return {name: _read_array(archive, next(numbers)) for name in names}

        golden = [(read(given), read(expected)) for given, expected in header["golden"]]
        return Record(plan, proto, data, golden, header["facts"])


def _stored(archive: zipfile.ZipFile, name: str, content: Buffer) -> Buffer:
    """What lies in the archive under a name, where it lies."""
    info = archive.getinfo(name)
    with archive.open(info):  # checks the header in front of it
        pass
    lengths = struct.unpack_from("<HH", content, info.header_offset + _LENGTHS_AT)
    start = info.header_offset + _HEADER_BYTES + sum(lengths)
    return memoryview(content)[start : start + info.file_size]


def _packed_plan(plan: Plan) -> dict[str, Any]:
    """Everything of one plan but weights, objects and its CPU plan."""
    return {
        **{name: getattr(plan, name) for name in _PLAIN},
        "tensors": [
            {**dataclasses.asdict(tensor), "storage": tensor.storage.name}
            for tensor in plan.tensors
        ],
        "calls": [_packed_call(call) for call in plan.calls],
        "programs": [_packed_program(program) for program in plan.programs],
        "symbols": [dataclasses.asdict(symbol) for symbol in plan.symbols],
        "counts": [dataclasses.asdict(count) for count in plan.counts],
        "inputs": [dataclasses.asdict(port) for port in plan.inputs],
        "outputs": [dataclasses.asdict(port) for port in plan.outputs],
        "regions": [
            {**dataclasses.asdict(region), "kind": region.kind.name} for region in plan.regions
        ],
    }


def _packed_shaders(shaders: ShaderPlan) -> dict[str, Any]:
    return {
        "language": shaders.language,
        "text": shaders.text,
        "plan": _packed_plan(shaders.plan),
        "calls": [dataclasses.asdict(call) for call in shaders.calls],
        "alignment_bytes": shaders.alignment_bytes,
    }


def _shaders(content: Mapping[str, Any]) -> ShaderPlan:
    calls = tuple(
        ShaderCall(call["entry"], tuple(call["tensors"]), tuple(call["is_written"]))
        for call in content["calls"]
    )
    return ShaderPlan(**{**content, "plan": _plan(content["plan"]), "calls": calls})


def _plan(content: Mapping[str, Any]) -> Plan:
    return Plan(
        **{name: content[name] for name in _PLAIN},
        tensors=[
            PlanTensor(**{**t, "shape": tuple(t["shape"]), "storage": Storage[t["storage"]]})
            for t in content["tensors"]
        ],
        calls=[_plan_call(c) for c in content["calls"]],
        inputs=[_plan_port(p) for p in content["inputs"]],
        outputs=[_plan_port(p) for p in content["outputs"]],
        symbols=tuple(
            PlanSymbol(**{**s, "derived": s["derived"] and _extent(s["derived"])})
            for s in content["symbols"]
        ),
        counts=tuple(PlanCount(**c) for c in content["counts"]),
        regions=[
            PlanRegion(**{**r, "kind": RegionKind[r["kind"]]}) for r in content["regions"]
        ],
        programs=tuple(_plan_program(p) for p in content["programs"]),
        weights=b"",
        objects={},
    )


def _packed_program(program: PlanProgram) -> dict[str, Any]:
    content = dataclasses.asdict(program)
    content["binary"] = base64.b64encode(program.binary).decode("ascii")
    return content


def _plan_program(content: Mapping[str, Any]) -> PlanProgram:
    binary = base64.b64decode(content["binary"])
    extensions = tuple(content["extensions"])
    return PlanProgram(**{**content, "extensions": extensions, "binary": binary})


def _packed_call(call: PlanCall) -> dict[str, Any]:
    content = dataclasses.asdict(call)
    if call.launch is not None:
        content["launch"]["kind"] = call.launch.kind.name
    return content


def _plan_call(content: Mapping[str, Any]) -> PlanCall:
    sized = content["dynamic"]
    dynamic = sized and DynamicCall(
        _extent(sized["items"]), tuple(map(_extent, sized["sizes"])), tuple(sized["strides"])
    )
    lists = {name: tuple(content[name]) for name in ("arguments", "nodes")}
    given = content["launch"]
    launch = given and Launch(
        LaunchKind[given["kind"]],
        tuple(given["global_sizes"]),
        tuple(given["local_sizes"]),
        given["program"],
    )
    return PlanCall(**{**content, **lists, "dynamic": dynamic, "launch": launch})


def _plan_port(content: Mapping[str, Any]) -> PlanPort:
    extents = tuple(map(_extent, content["extents"]))
    return PlanPort(**{**content, "shape": tuple(content["shape"]), "extents": extents})


def _extent(content: Mapping[str, Any]) -> Extent:
    terms = tuple((factor, tuple(symbols)) for factor, symbols in content["terms"])
    return Extent(terms, content["divisor"])


def _read_array(archive: zipfile.ZipFile, number: int) -> Array:
    with archive.open(f"golden/{number}") as file:
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
        return array
