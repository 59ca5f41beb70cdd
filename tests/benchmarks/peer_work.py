"""What is compared, made ready and kept: float models, bundles, other runtimes' forms of them.

    CACHE/<model>-<digest>/
        model.onnx, data.npz    exported from torch; input, torch's answers, calibration samples
        fp32/, w8a8/            bundles, with a stamp of the sources they were built from
        <peer>_<precision>/     the runtime's own form, with what it was made by

Everything is made once. The digest is that of the model and its data; a bundle is built again
when edgecomp's sources change, a conversion when the runtime or its adapter does.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import io
import json
import pathlib
import shutil
import subprocess

import numpy as np
import onnx_ir as ir
import torch
from helpers.onnxruntime_quantizer import quantize_by_onnxruntime

import edgecomp
from edgecomp import api
from edgecomp.bench.peer_engine import convert_task
from edgecomp.bench.peer_model import describe
from edgecomp.bench.peers.catalog import CATALOG
from edgecomp.bench.peers.task import Task, read_task
from edgecomp.device.load import load_target
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import BuildOptions

ROOT = pathlib.Path(__file__).parents[2]
PRECISIONS = ("fp32", "w8a8")
#: onnxruntime on the file that the bundle was built from, beside its own quantizer's file.
SAME_FILE = "onnxruntime, same file"
#: Peer -> precisions in which it is compared.
PEERS = {
    "onnxruntime": PRECISIONS,
    SAME_FILE: ("w8a8",),
    "openvino": PRECISIONS,
    "litert": PRECISIONS,
    "executorch": PRECISIONS,
    "ncnn": ("fp32",),  # its int8 tables cover convolutions of images alone
    "mnn": PRECISIONS,
}
#: How the data is drawn, and the operator set that every converter knows well.
_SETTINGS = {"input_seed": 0, "calibration_seed": 7, "calibration_samples": 16, "opset": 18}
_SOURCES = ("edgecomp", "runtime", "targets")


@dataclasses.dataclass(frozen=True)
class Model:
    """A network as files.

    Attributes:
        name: of ``networks.NETWORKS``.
        folder: of the cache.
    """

    name: str
    folder: pathlib.Path

    @property
    def path(self):
        """The float ONNX file."""
        return self.folder / "model.onnx"

    @property
    def data(self):
        """Name -> array: ``input``, ``output_N``, ``calibration``."""
        with np.load(self.folder / "data.npz", allow_pickle=False) as file:
            return dict(file)

    @property
    def answers(self):
        """torch's outputs on the input, float32."""
        data = self.data
        return [data[f"output_{i}"] for i in range(len(data) - 2)]


def catalog_name(peer):
    """The runtime behind a peer's name."""
    return peer.split(",")[0]


def make_model(name, network, cache):
    """Export a network with its data, or find what was exported."""
    marker = cache / f"{name}.json"
    facts = {"torch": torch.__version__, "definition": _definition_digest(), **_SETTINGS}
    if marker.exists():
        content = json.loads(marker.read_text())
        folder = cache / content.pop("folder")
        if content == facts and (folder / "data.npz").exists():
            return Model(name, folder)
    module = network.module()
    (array,) = network.inputs(1, _SETTINGS["input_seed"])
    samples = network.inputs(_SETTINGS["calibration_samples"], _SETTINGS["calibration_seed"])
    example = torch.from_numpy(array)
    with torch.no_grad():
        found = module(example)
    found = found if isinstance(found, tuple) else (found,)
    content = exported(module, example)
    data = {"input": array, "calibration": np.stack(samples)}
    data |= {f"output_{i}": answer.numpy() for i, answer in enumerate(found)}
    folder = cache / f"{name}-{_digest_of(content, data)}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    np.savez(folder / "data.npz", allow_pickle=False, **data)
    marker.write_text(json.dumps({"folder": folder.name, **facts}))
    return Model(name, folder)


def make_bundle(model, precision):
    """Build a bundle, or open the one of the same sources; with the stamp of its sources."""
    folder = model.folder / precision
    stamp = source_stamp()
    file = model.folder / f"{precision}.json"
    if folder.exists() and file.exists():
        kept = json.loads(file.read_text())
        if kept["sources"] == stamp["sources"]:
            return api.open(folder), kept
    options = BuildOptions(output=folder, precision=precision, name=model.name, force=True)
    samples = None
    if precision != "fp32":
        samples = [{"input": sample} for sample in model.data["calibration"]]
    bundle = api.build(str(model.path), options, calibration_dataset=samples)
    file.write_text(json.dumps(stamp))
    return bundle, stamp


def make_form(model, precision, peer, python):
    """A runtime's form of a model: ``{"file", "form", "versions"}`` or ``{"error"}``.

    Raises:
        EdgecompError: PACKAGE_MISSING, FILE_MISSING: the runtime is not there.
    """
    folder = model.folder / f"{peer.replace(', ', '_').replace(' ', '_')}_{precision}"
    versions = peer_versions(peer, python)
    key = {"versions": versions, "adapter": _adapter_digest(peer)}
    kept = folder / "form.json"
    if kept.exists():
        content = json.loads(kept.read_text())
        if content.pop("key") == key:
            return {**content, "versions": versions}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        content = _convert(model, precision, peer, python, folder)
    except EdgecompError as error:
        if error.code is not Code.DEVICE_FAILED:
            raise
        content = {"error": error.cause.splitlines()[0]}
    kept.write_text(json.dumps({"key": key, **content}))
    return {**content, "versions": versions}


@functools.cache
def peer_versions(peer, python):
    """Package -> version, of what runs and converts; "" where it is not installed."""
    names = [n for n in CATALOG[catalog_name(peer)].pip.split() if n != "torch"]
    lines = [
        "import importlib.metadata as m, json, sys",
        "have = {d.metadata['Name'].lower(): d.version for d in m.distributions()}",
        "print(json.dumps({n: have.get(n.lower(), '') for n in sys.argv[1:]}))",
    ]
    try:
        done = subprocess.run(
            [python, "-c", "\n".join(lines), *names],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise EdgecompError(
            Code.FILE_MISSING, f"no Python interpreter for {peer}", path=python
        ) from error
    return json.loads(done.stdout)


def source_stamp():
    """What edgecomp is built from: a digest of its sources, the commit, whether it is clean."""
    digest = hashlib.sha256()
    for name in _SOURCES:
        for path in sorted((ROOT / name).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    commit = _git("rev-parse", "--short=10", "HEAD")
    return {
        "sources": digest.hexdigest()[:16],
        "version": edgecomp.__version__,
        "commit": commit or "unknown",
        "changed": bool(_git("status", "--porcelain", "--", *_SOURCES)),
    }


def exported(module, example):
    """As a user of any of the runtimes would."""
    program = torch.onnx.export(
        module,
        (example,),
        input_names=["input"],
        opset_version=_SETTINGS["opset"],
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    return _plain(program.model)


def _plain(model):
    """Without the exporter's notes of where in the code a node comes from.

    They hold paths of this machine, and would make every edit of a comment another model.
    """
    for each in (model, model.graph, *model.graph, *model.graph.initializers.values()):
        each.metadata_props.clear()
    for node in model.graph:
        for value in node.outputs:
            value.metadata_props.clear()
    return ir.serde.serialize_model(model).SerializeToString(deterministic=True)


def _convert(model, precision, peer, python, folder):
    data = model.data
    int8 = precision != "fp32"
    if peer == "onnxruntime":
        if not int8:
            return {"file": str(model.path), "form": "ONNX"}
        path = folder / "model.onnx"
        return {"file": str(path), "form": _quantize_for_onnxruntime(model, path)}
    if peer == SAME_FILE:
        bundle, _ = make_bundle(model, precision)
        return {"file": str(bundle.model_path), "form": "the bundle's QDQ file"}
    for name in ("model.onnx", "float.onnx"):
        (folder / name).symlink_to(model.path)
    np.savez(folder / "inputs.npz", allow_pickle=False, input=data["input"])
    np.savez(folder / "calibration.npz", allow_pickle=False, input=data["calibration"])
    if CATALOG[peer].starts_from_torch:
        describe(ir.load(model.path), folder)
    convert_task(Task(folder, peer, 1, int8, ("input",)), python)
    task = read_task(folder)
    return {"file": task.file, "form": task.form}


def _quantize_for_onnxruntime(model, output):
    """Static QDQ by onnxruntime's own quantizer, per channel.

    Seven bits where the processor's 8-bit products could saturate: see "reduce_range" in
    onnxruntime's documentation.
    """
    from onnxruntime.quantization import QuantType

    core = load_target("host").core
    saturates = core.isa == "x86_64" and not {"avx512vnni", "avxvnni"} & core.features
    with contextlib.redirect_stdout(io.StringIO()):
        quantize_by_onnxruntime(
            model.path,
            [{"input": sample} for sample in model.data["calibration"]],
            output,
            per_channel=True,
            reduce_range=saturates,
            activation_type=QuantType.QUInt8,
        )
    return f"int8 by onnxruntime's quantizer{', 7-bit weights' if saturates else ''}"


def _digest_of(content, data):
    digest = hashlib.sha256(content)
    for part in data.values():
        digest.update(part.tobytes())
    return digest.hexdigest()[:12]


def _definition_digest():
    """Of all files that say what the networks are."""
    benchmarks, helpers = ROOT / "tests" / "benchmarks", ROOT / "tests" / "helpers"
    files = [benchmarks / "networks.py", *sorted(benchmarks.glob("zoo*.py"))]
    files += [helpers / "classifiers.py", helpers / "network_parts.py"]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:12]


def _adapter_digest(peer):
    """Of what converts a model for a runtime."""
    folder = pathlib.Path(edgecomp.__file__).parent / "bench" / "peers"
    entry = CATALOG[catalog_name(peer)]
    names = [entry.module, *(["torch_graph", "torch_operators"] * entry.starts_from_torch)]
    content = b"".join((folder / f"{name}.py").read_bytes() for name in names)
    return hashlib.sha256(content).hexdigest()[:12]


def _git(*arguments):
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def own_versions():
    """Packages that made the models and the kernels."""
    names = ("apache-tvm", "numpy", "onnx", "onnx-ir", "torch")
    return {name: importlib.metadata.version(name) for name in names}
