"""Programs that are timed in turns: the bundle's own runner and other runtimes."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Protocol

import numpy as np

import edgecomp
from edgecomp.bench.device import require_runner
from edgecomp.bench.files import BundleFiles, Port
from edgecomp.bench.line_process import LineProcess
from edgecomp.bench.runner import (
    at_shapes,
    output_file,
    plan_arguments,
    read_output,
    read_shape,
    shape_arguments,
    shape_file,
)
from edgecomp.held import scratch_folder
from edgecomp.plan.values import Array


@dataclasses.dataclass(frozen=True)
class Times:
    """Runs of one turn, in nanoseconds: by the clock, and of the process's processors."""

    wall_ns: list[int]
    cpu_ns: list[int]


class Engine(Protocol):
    """A loaded model that can be timed.

    Attributes:
        name, version: for people.
        form: what the model was made from, for people.
        outputs: of the first run, in the order of the model's outputs.
    """

    name: str
    version: str
    form: str
    outputs: list[Array]

    def time(self, seconds: float) -> Times:
        """Run for this long, at least once."""

    def close(self) -> None:
        """End the process."""


class ProcessEngine:
    """What engines in a child process share: the child is asked for runs and ended.

    Args:
        process: answers ``run SECONDS LEAST_RUNS`` with ``run_ns`` and ``cpu_ns``.
        owned: what is closed with it.
    """

    def __init__(self, process: LineProcess, owned: contextlib.ExitStack) -> None:
        self._process = process
        self._owned = owned

    def time(self, seconds: float) -> Times:
        """Run for this long, at least once."""
        answer = self._process.ask(f"run {seconds} 1")
        return Times(answer["run_ns"], answer["cpu_ns"])

    def close(self) -> None:
        """End the process."""
        self._owned.close()


class BundleEngine(ProcessEngine):
    """The bundle's own runner."""

    name = "edgecomp"
    form = "bundle"

    def __init__(
        self,
        bundle: BundleFiles,
        threads: int,
        inputs: Mapping[str, Array],
        plan: str = "auto",
    ) -> None:
        self.version = edgecomp.__version__
        with contextlib.ExitStack() as owned:
            folder = owned.enter_context(scratch_folder())
            command = [
                str(require_runner(bundle)),
                *("--weights", str(bundle.weights_path)),
                *("--threads", str(threads)),
                *_input_arguments(bundle, inputs, folder),
                *("--output-dir", str(folder)),
                *plan_arguments(plan),
                "--serve",
            ]
            process = owned.enter_context(
                contextlib.closing(LineProcess("edgecomp_run", command))
            )
            process.answer()
            self.outputs = [_output(folder, port) for port in bundle.outputs]
            super().__init__(process, owned.pop_all())


def timed_inputs(
    bundle: BundleFiles, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, Array]:
    """The first golden inputs, or seeded ones of the same kind where there are none.

    Args:
        bundle: to time.
        shapes: of dynamic inputs, the largest where not given.
    """
    if bundle.golden:
        return at_shapes(bundle, bundle.golden[0].inputs, shapes or {})
    generator = np.random.default_rng(0)
    arrays: dict[str, Array] = {}
    for port in bundle.inputs:
        dtype = np.dtype(port.dtype)
        if dtype.kind == "f":
            arrays[port.name] = generator.random(port.shape).astype(dtype)
        else:
            # 0 and 1 are valid as indices into any table, as masks and as bytes of images.
            arrays[port.name] = generator.integers(0, 2, port.shape).astype(dtype)
    return at_shapes(bundle, arrays, shapes or {})


def _output(folder: pathlib.Path, port: Port) -> Array:
    shape = read_shape(folder / shape_file(port.name)) if port.dimensions else None
    return read_output(folder / output_file(port.name), port, shape)


def _input_arguments(
    bundle: BundleFiles, inputs: Mapping[str, Array], folder: pathlib.Path
) -> list[str]:
    arguments = shape_arguments(bundle, inputs)
    for index, port in enumerate(bundle.inputs):
        path = folder / f"input_{index}.bin"
        path.write_bytes(inputs[port.name].tobytes())
        arguments += ["--input", f"{port.name}={path}"]
    return arguments
