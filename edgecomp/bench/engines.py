"""Programs that are timed in turns: each a process that answers a line with a line of JSON."""

import contextlib
import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

import edgecomp
from edgecomp.bench.device import require_runner
from edgecomp.bench.failures import program_failed
from edgecomp.bench.files import BundleFiles
from edgecomp.errors import Code, EdgecompError

_CLOSE_TIMEOUT_S = 10


@dataclasses.dataclass(frozen=True)
class Times:
    """Runs of one turn, in nanoseconds: by the clock, and of the process's processors."""

    wall_ns: list[int]
    cpu_ns: list[int]


class Engine(Protocol):
    """A loaded model that can be timed.

    Attributes:
        name, version: for people.
    """

    name: str
    version: str

    def time(self, seconds: float) -> Times:
        """Run for this long, at least once."""

    def close(self) -> None:
        """End the process."""


class LineProcess:
    """A child that writes one line of JSON when it is ready and one for each line it gets."""

    def __init__(
        self, name: str, command: Sequence[str], environment: dict[str, str] | None = None
    ) -> None:
        self._name = name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment,
                text=True,
            )
        except OSError as error:
            self._errors.close()
            raise EdgecompError(
                Code.DEVICE_FAILED,
                f"{name} could not be started: {error.strerror or error}",
                path=command[0],
                hint="was the bundle built for this machine?",
            ) from error

    def ask(self, line: str) -> dict[str, Any]:
        """Send a line, return the answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next line."""
        assert self._process.stdout is not None
        text = self._process.stdout.readline()
        if not text:
            raise self._ended()
        try:
            content = json.loads(text)
        except ValueError:
            raise EdgecompError(
                Code.DEVICE_FAILED, f"{self._name} answered {text[:200]!r}"
            ) from None
        if not isinstance(content, dict) or "error" in content:
            raise EdgecompError(Code.DEVICE_FAILED, f"{self._name} answered {text[:200]!r}")
        return content

    def close(self) -> None:
        """End the child: it ends with its input."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _ended(self) -> EdgecompError:
        status = self._process.wait()
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace")
        return program_failed("local", [self._name], status, text)


class BundleEngine:
    """The bundle's own runner."""

    name = "edgecomp"

    def __init__(self, bundle: BundleFiles, threads: int) -> None:
        self.version = edgecomp.__version__
        self._folder = tempfile.TemporaryDirectory(prefix="edgecomp-")
        command = [
            str(require_runner(bundle)),
            *("--weights", str(bundle.weights_path)),
            *("--threads", str(threads)),
            *self._inputs(bundle),
            "--serve",
        ]
        try:
            self._process = LineProcess("edgecomp_run", command)
            self._process.answer()
        except BaseException:
            self._folder.cleanup()
            raise

    def time(self, seconds: float) -> Times:
        """Run for this long, at least once."""
        answer = self._process.ask(f"run {seconds} 1")
        return Times(answer["run_ns"], answer["cpu_ns"])

    def close(self) -> None:
        """End the process."""
        self._process.close()
        self._folder.cleanup()

    def _inputs(self, bundle: BundleFiles) -> list[str]:
        if not bundle.golden:
            return ["--random-inputs"]
        arguments = []
        for index, port in enumerate(bundle.inputs):
            path = pathlib.Path(self._folder.name) / f"input_{index}.bin"
            path.write_bytes(bundle.golden[0].inputs[port.name].tobytes())
            arguments += ["--input", f"{port.name}={path}"]
        return arguments


class OnnxruntimeEngine:
    """onnxruntime on the CPU, with as many threads."""

    name = "onnxruntime"

    def __init__(self, bundle: BundleFiles, model: pathlib.Path, threads: int) -> None:
        if importlib.util.find_spec("onnxruntime") is None:
            raise EdgecompError(
                Code.PACKAGE_MISSING,
                "onnxruntime is not installed",
                hint="pip install onnxruntime",
            )
        if not model.is_file():
            raise EdgecompError(Code.FILE_MISSING, "there is no such model", path=str(model))
        self._folder = tempfile.TemporaryDirectory(prefix="edgecomp-")
        inputs = pathlib.Path(self._folder.name) / "inputs.npz"
        np.savez(inputs, allow_pickle=False, **_inputs(bundle))
        module = "edgecomp.bench.onnxruntime_worker"
        command = [sys.executable, "-m", module, str(model), str(inputs), str(threads)]
        try:
            self._process = LineProcess(self.name, command, _environment())
            self.version = str(self._process.answer()["version"])
        except BaseException:
            self._folder.cleanup()
            raise

    def time(self, seconds: float) -> Times:
        """Run for this long, at least once."""
        answer = self._process.ask(str(seconds))
        return Times(answer["run_ns"], answer["cpu_ns"])

    def close(self) -> None:
        """End the process."""
        self._process.close()
        self._folder.cleanup()


def _environment() -> dict[str, str]:
    """The child imports this edgecomp, also where it is not installed."""
    root = str(pathlib.Path(edgecomp.__file__).parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _inputs(bundle: BundleFiles) -> dict[str, Any]:
    """The first golden inputs, or what ``--random-inputs`` gives in kind."""
    if bundle.golden:
        return dict(bundle.golden[0].inputs)
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for port in bundle.inputs:
        dtype = np.dtype(port.dtype)
        values = generator.random(port.shape) * (255 if dtype.itemsize == 1 else 1)
        arrays[port.name] = values.astype(dtype)
    return arrays
