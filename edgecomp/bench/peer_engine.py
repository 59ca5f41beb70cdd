"""Another runtime as an engine: its folder of files, its conversion, its process."""

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

import edgecomp
from edgecomp.bench.engines import ProcessEngine
from edgecomp.bench.files import BundleFiles
from edgecomp.bench.line_process import LineProcess
from edgecomp.bench.peer_model import describe, drop_quantization
from edgecomp.bench.peers.catalog import CATALOG, Entry
from edgecomp.bench.peers.task import Task
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.qdq import is_quantized
from edgecomp.graph.run import run_model
from edgecomp.held import scratch_folder
from edgecomp.plan.values import Array

_PROBE = (
    "import importlib.util as u, json, sys;"
    "print(json.dumps([n for n in sys.argv[1:] if not u.find_spec(n)]))"
)


class PeerModel:
    """A bundle's model as files that every peer's process reads.

    Args:
        bundle: whose model and inputs are compared.
        folder: to write into.
        model: another model to compare with than the bundle's own.

    Attributes:
        int8: whether the bundle computes in integers.
        reference: outputs of the float model on the timed inputs, by onnxruntime without
            optimizations.
    """

    def __init__(
        self,
        bundle: BundleFiles,
        inputs: Mapping[str, Array],
        folder: pathlib.Path,
        model: pathlib.Path | None = None,
    ) -> None:
        path = model or bundle.model_path
        if not path.is_file():
            raise EdgecompError(Code.FILE_MISSING, "there is no such model", path=str(path))
        self.folder = folder
        try:
            loaded = ir.load(path)
        except Exception as error:  # protobuf's exceptions have no public base
            raise EdgecompError(
                Code.MODEL_UNREADABLE, f"not an ONNX model: {error}", path=str(path)
            ) from error
        self.int8 = is_quantized(loaded)
        self.input_names = tuple(value.name or "" for value in loaded.graph.inputs)
        plain = drop_quantization(loaded) if self.int8 else loaded
        ir.save(loaded, folder / "model.onnx")
        ir.save(plain, folder / "float.onnx")
        self.reference = list(run_model(plain, inputs).values())
        self._plain = plain
        np.savez(folder / "inputs.npz", allow_pickle=False, **inputs)
        shapes = {name: array.shape for name, array in inputs.items()}
        samples = [
            dict(vector.inputs)
            for vector in bundle.golden
            if shapes == {name: array.shape for name, array in vector.inputs.items()}
        ] or [dict(inputs)]
        stacked = {name: np.stack([s[name] for s in samples]) for name in self.input_names}
        np.savez(folder / "calibration.npz", allow_pickle=False, **stacked)

    def task(self, peer: str, threads: int) -> Task:
        """A folder for one peer, whose files are those of this one."""
        folder = self.folder / f"{peer}_{threads}"
        folder.mkdir()
        if not (self.folder / "graph.json").exists() and CATALOG[peer].starts_from_torch:
            describe(self._plain, self.folder)
        for file in self.folder.iterdir():
            if file.is_file():
                (folder / file.name).symlink_to(file)
        return Task(folder, peer, threads, self.int8, self.input_names)


class PeerEngine(ProcessEngine):
    """Another runtime, in an interpreter of its own.

    Args:
        name: of ``peers.catalog.CATALOG``.
        model: files of the bundle's model.
        threads: for kernels.
        python: the interpreter that has the runtime.
        file: the model in the runtime's own form; converted where None.
    """

    def __init__(
        self,
        name: str,
        model: PeerModel,
        threads: int,
        *,
        python: str = sys.executable,
        file: pathlib.Path | None = None,
    ) -> None:
        self.name = name
        entry = CATALOG[name]
        needed = entry.runs if file else (*entry.runs, *entry.converts)
        _require_packages(name, entry, python, needed)
        if file is not None and not file.is_file():
            raise EdgecompError(Code.FILE_MISSING, "there is no such model", path=str(file))
        task = model.task(name, threads)
        with contextlib.ExitStack() as owned:
            environment = _environment(owned.enter_context(scratch_folder()), threads)
            if file is not None:
                self.form = file.name
                _write(task, str(file.resolve()), self.form)
            else:
                self.form = _convert(task, python, environment)
            command = [python, "-m", "edgecomp.bench.peers.serve", str(task.folder)]
            process = owned.enter_context(
                contextlib.closing(LineProcess(name, command, environment))
            )
            self.version = str(process.answer()["version"])
            with np.load(task.folder / "outputs.npz", allow_pickle=False) as outputs:
                self.outputs = [outputs[f"output_{i}"] for i in range(len(outputs.files))]
            super().__init__(process, owned.pop_all())


def convert_task(task: Task, python: str = sys.executable) -> str:
    """Make a runtime's form of a model in the task's folder, to be kept; say what it is.

    Args:
        task: with its files; ``task.json`` names the result afterwards.
        python: the interpreter that has the runtime and its converter.

    Raises:
        EdgecompError: FILE_MISSING, PACKAGE_MISSING, DEVICE_FAILED.
    """
    entry = CATALOG[task.peer]
    _require_packages(task.peer, entry, python, (*entry.runs, *entry.converts))
    with scratch_folder() as parent:
        return _convert(task, python, _environment(parent, task.threads))


def _write(task: Task, file: str, form: str) -> None:
    dataclasses.replace(task, file=file, form=form).write()


def _convert(task: Task, python: str, environment: Mapping[str, str]) -> str:
    """Make the runtime's form of the model in a process that ends; say what it is."""
    task.write()
    command = [python, "-m", "edgecomp.bench.peers.convert", str(task.folder)]
    hint = f"convert the model by other means and give it with --peer-model {task.peer}=FILE"
    process = LineProcess(f"{task.peer}'s converter", command, environment, hint=hint)
    try:
        return str(process.answer()["form"])
    finally:
        process.close()


def _require_packages(name: str, entry: Entry, python: str, packages: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            [python, "-c", _PROBE, *packages], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise EdgecompError(
            Code.FILE_MISSING, f"no Python interpreter for {name}", path=python
        ) from error
    missing: list[str] = json.loads(done.stdout)
    if missing:
        raise EdgecompError(
            Code.PACKAGE_MISSING,
            f"{name} is not installed: no package {missing[0]} for {python}",
            hint=f"{python} -m pip install {entry.pip}",
        )


def _environment(parent: pathlib.Path, threads: int) -> dict[str, str]:
    """The child imports this edgecomp, and nothing else that lies beside it."""
    (parent / "edgecomp").symlink_to(pathlib.Path(edgecomp.__file__).parent)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {
        **os.environ,
        "PYTHONPATH": str(parent),
        **dict.fromkeys(names, str(threads)),
    }
