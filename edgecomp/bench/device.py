"""A device: something that can run a bundle's command-line runner.

``run`` and ``measure`` are the same for all of them; a subclass says how files get there and
back and how a command is started (``Place``).
"""

import abc
import contextlib
import pathlib
from collections.abc import Mapping, Sequence

from edgecomp.bench import runner
from edgecomp.bench.files import BundleFiles
from edgecomp.bench.line_process import LineProcess
from edgecomp.bench.runner import Measurement, MeasureOptions
from edgecomp.errors import Code, EdgecompError
from edgecomp.held import scratch_folder
from edgecomp.plan.values import Array


class Place(abc.ABC):
    """A bundle's runner and weights on the device, and a scratch folder for one use.

    Attributes:
        runner, weights: paths as the device sees them.
        folder: scratch folder as the device sees it.
    """

    runner: str
    weights: str
    folder: str

    @abc.abstractmethod
    def send(self, local: pathlib.Path, name: str) -> str:
        """Copy a file into the scratch folder; return its path there."""

    @abc.abstractmethod
    def fetch(self, name: str, local: pathlib.Path) -> None:
        """Copy a file of the scratch folder here."""

    @abc.abstractmethod
    def execute(self, arguments: Sequence[str]) -> str:
        """Run the runner with arguments; return what it wrote to stdout.

        Raises:
            EdgecompError: DEVICE_UNREACHABLE or DEVICE_FAILED.
        """

    @abc.abstractmethod
    def serve(self, arguments: Sequence[str]) -> LineProcess:
        """Start the runner with ``--serve``, which then takes commands; the caller closes it."""

    @abc.abstractmethod
    def discard(self) -> None:
        """Remove what was copied to the device for this bundle and would stay there."""


class Device(abc.ABC):
    """Where bundles run.

    Attributes:
        spec: as given to ``--device``.
        emulated: whether its times say nothing of the device.
    """

    spec: str
    emulated: bool = False

    def __str__(self) -> str:
        return self.spec

    @abc.abstractmethod
    def describe(self) -> str:
        """The machine in words: its board where that is known, its processor.

        Raises:
            EdgecompError: DEVICE_UNREACHABLE.
        """

    @abc.abstractmethod
    def place(self, bundle: BundleFiles) -> contextlib.AbstractContextManager[Place]:
        """Put a bundle's runner there for the time of the block."""

    def run(
        self,
        bundle: BundleFiles,
        inputs: Mapping[str, Array],
        *,
        threads: int = 1,
        plan: str = "auto",
    ) -> dict[str, Array]:
        """Run the model once.

        Args:
            bundle: with a runner.
            inputs: one array per input, by name, with the port's dtype and shape.
            threads: for kernels.
            plan: as the runner takes it; where ``auto`` takes the CPU plan, a warning is logged.

        Returns:
            One array per output, by name.

        Raises:
            EdgecompError: INPUT_MISMATCH, TOOLCHAIN_MISSING, DEVICE_UNREACHABLE, DEVICE_FAILED.
        """
        arrays = runner.check_inputs(bundle, inputs)
        with self.place(bundle) as place, scratch_folder() as here:
            arguments = runner.run_arguments(place, threads=threads, plan=plan)
            arguments += _send_inputs(place, bundle, arrays, here)
            runner.warn_of_failure(place.execute(arguments), self.spec)
            outputs = {}
            for port in bundle.outputs:
                name = runner.output_file(port.name)
                local = here / name
                place.fetch(name, local)
                shape = None
                if port.dimensions:
                    shape = _fetch_shape(place, port.name, here)
                outputs[port.name] = runner.read_output(local, port, shape)
            return outputs

    def measure(self, bundle: BundleFiles, options: MeasureOptions) -> Measurement:
        """Time the model in a process of its own, so that its memory is its own too."""
        with self.place(bundle) as place, scratch_folder() as here:
            arguments = runner.measure_arguments(place, options)
            if bundle.golden:
                inputs = bundle.golden[0].inputs
                if options.shapes:
                    inputs = runner.at_shapes(bundle, inputs, options.shapes)
                arguments += _send_inputs(place, bundle, inputs, here)
            else:
                arguments += ["--random-inputs"]
            text = place.execute(arguments)
            return runner.parse_measurement(text, self.spec, options, emulated=self.emulated)


def require_runner(bundle: BundleFiles) -> pathlib.Path:
    """The runner's path here.

    Raises:
        EdgecompError: TOOLCHAIN_MISSING when the bundle has none.
    """
    if bundle.runner_path is None:
        raise EdgecompError(
            Code.TOOLCHAIN_MISSING,
            "the bundle has no runner for a device",
            path=str(bundle.directory),
            hint="build it with a C compiler for its target installed ('edgecomp doctor')",
        )
    return bundle.runner_path


def _fetch_shape(place: Place, output: str, here: pathlib.Path) -> tuple[int, ...]:
    """The shape that the runner wrote of an output."""
    name = runner.shape_file(output)
    place.fetch(name, here / name)
    return runner.read_shape(here / name)


def _send_inputs(
    place: Place, bundle: BundleFiles, arrays: Mapping[str, Array], here: pathlib.Path
) -> list[str]:
    """Write each input as raw bytes, send it and return the arguments that name it."""
    arguments = runner.shape_arguments(bundle, arrays)
    for index, port in enumerate(bundle.inputs):
        local = here / f"input_{index}.bin"
        local.write_bytes(arrays[port.name].tobytes())
        arguments += ["--input", f"{port.name}={place.send(local, local.name)}"]
    return arguments
