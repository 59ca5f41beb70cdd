"""The command-line runner ``edgecomp_run``: its arguments and what it writes."""

import dataclasses
import json
import logging
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any, Protocol

import ml_dtypes  # noqa: F401 - np.dtype then knows bfloat16
import numpy as np

from edgecomp.bench.files import BundleFiles, Port, allows
from edgecomp.bench.statistics import Summary, summarize
from edgecomp.errors import Code, EdgecompError, nearest_hint
from edgecomp.plan.values import Array

logger = logging.getLogger(__name__)

_ASCII_END = 128
#: Longest time the runner takes.
MAX_SECONDS = 1_000_000


class Paths(Protocol):
    """Where the device has the weights and the scratch folder."""

    weights: str
    folder: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """How to time a model.

    Attributes:
        threads: for kernels.
        warmup_runs: runs that are not counted, after the first.
        num_runs: runs that are, at most.
        max_secs: no run begins after this many seconds of them.
        profile: time each call as well, in further runs.
        shapes: of inputs with dynamic dimensions; the largest where not given.
        plan: ``auto``, ``device`` or ``cpu``, as the runner takes it.
    """

    threads: int = 1
    warmup_runs: int = 3
    num_runs: int = 100
    max_secs: float = 30.0
    profile: bool = False
    shapes: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    plan: str = "auto"

    def __post_init__(self) -> None:
        for name, least in (("threads", 1), ("warmup_runs", 0), ("num_runs", 1)):
            if getattr(self, name) < least:
                raise EdgecompError(Code.USAGE, f"{name} has to be at least {least}")
        if not 0 < self.max_secs <= MAX_SECONDS:
            raise EdgecompError(Code.USAGE, f"max_secs has to be in 0..{MAX_SECONDS}")


@dataclasses.dataclass(frozen=True)
class CallTime:
    """One kernel call's time over the profiled runs.

    Attributes:
        index: in execution order.
        operator, schedule, nodes, source, multiply_adds: as in the plan.
        mean_ns: of one run.
        minimum_ns: of one run.
    """

    index: int
    operator: str
    schedule: str
    nodes: str
    source: str
    multiply_adds: int
    mean_ns: float
    minimum_ns: float


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One process on one device.

    Attributes:
        device: as given to ``--device``.
        emulated: whether the times are those of an emulator, which say nothing of the device.
        options: how it was measured.
        load_ns: opening the session: mapping and hashing the weights, starting threads.
        first_run_ns: the first run, caches cold.
        wall: runs after the warm-up, by the clock.
        cpu: the same runs, processor time of all threads.
        peak_rss_bytes: largest resident memory of the process, 0 where unknown.
        calls: profile, empty unless asked for.
    """

    device: str
    emulated: bool
    options: MeasureOptions
    load_ns: int
    first_run_ns: int
    wall: Summary
    cpu: Summary
    peak_rss_bytes: int
    calls: tuple[CallTime, ...]


def run_arguments(place: Paths, *, threads: int, plan: str = "auto") -> list[str]:
    """Arguments for one run whose outputs are kept."""
    return [
        *("--weights", place.weights),
        *("--threads", str(threads)),
        *("--output-dir", place.folder),
        *plan_arguments(plan),
        "--json",
    ]


def plan_arguments(plan: str) -> list[str]:
    """Nothing for ``auto``, which is the runner's default and which older ones do not know."""
    return ["--plan", plan] if plan != "auto" else []


def warn_of_failure(text: str, device: str) -> None:
    """Log what the runner says of a device that failed, so that the CPU plan ran."""
    try:
        content = json.loads(text)
    except ValueError:
        return
    if isinstance(content, dict) and content.get("device_failure"):
        logger.warning("the CPU plan ran on %s: %s", device, content.get("device_message"))


def measure_arguments(place: Paths, options: MeasureOptions) -> list[str]:
    """Arguments for timing."""
    return [
        *("--weights", place.weights),
        *("--threads", str(options.threads)),
        *("--warmup-runs", str(options.warmup_runs)),
        *("--num-runs", str(options.num_runs)),
        *("--max-secs", str(options.max_secs)),
        *(["--profile"] if options.profile else []),
        *plan_arguments(options.plan),
        "--json",
    ]


def output_file(name: str) -> str:
    """The runner's file for an output: anything but ASCII letters and digits becomes ``_``."""
    plain = (chr(b) if chr(b).isalnum() and b < _ASCII_END else "_" for b in name.encode())
    return "".join(plain) + ".bin"


def check_inputs(bundle: BundleFiles, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Contiguous arrays for every input.

    Raises:
        EdgecompError: INPUT_MISMATCH for a wrong name, shape or dtype.
    """
    ports = {port.name: port for port in bundle.inputs}
    for name in inputs:
        if name not in ports:
            raise EdgecompError(
                Code.INPUT_MISMATCH, f"no input named '{name}'", hint=nearest_hint(name, ports)
            )
    missing = [name for name in ports if name not in inputs]
    if missing:
        raise EdgecompError(
            Code.INPUT_MISMATCH,
            f"input '{missing[0]}' is not given",
            node=missing[0],
            hint="every input needs an array",
        )
    return {name: _checked(port, inputs[name]) for name, port in ports.items()}


def shape_arguments(bundle: BundleFiles, inputs: Mapping[str, Array]) -> list[str]:
    """Arguments that say the shapes of dynamic inputs."""
    arguments: list[str] = []
    for port in bundle.inputs:
        if port.dimensions:
            dims = "x".join(map(str, inputs[port.name].shape)) or "scalar"
            arguments += ["--shape", f"{port.name}={dims}"]
    return arguments


def shape_file(name: str) -> str:
    """The runner's file for the shape of an output of a dynamic model."""
    return output_file(name).removesuffix(".bin") + ".shape"


def read_shape(path: pathlib.Path) -> tuple[int, ...]:
    """A file of the runner with a shape."""
    text = path.read_text(encoding="ascii", errors="replace").strip()
    if not re.fullmatch(r"scalar|\d+(x\d+)*", text):
        raise EdgecompError(Code.DEVICE_FAILED, f"the runner wrote '{text[:80]}' as a shape")
    return () if text == "scalar" else tuple(int(extent) for extent in text.split("x"))


def at_shapes(
    bundle: BundleFiles, inputs: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Array]:
    """Inputs of the largest sizes cut to given ones.

    A dimension that is given for one input holds for the others that share it.

    Raises:
        EdgecompError: INPUT_MISMATCH for an input or a shape that the model cannot have.
    """
    if not shapes:
        return dict(inputs)
    ports = {port.name: port for port in bundle.inputs}
    known: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in ports:
            raise EdgecompError(
                Code.INPUT_MISMATCH, f"no input named '{name}'", hint=nearest_hint(name, ports)
            )
        port = ports[name]
        if not allows(port, shape):
            names = f"[{', '.join(port.dimensions)}], at most " if port.dimensions else ""
            raise EdgecompError(
                Code.INPUT_MISMATCH,
                f"input '{name}' cannot be {list(shape)}: it is {names}{list(port.shape)}",
                node=name,
            )
        for dimension, size in zip(port.dimensions, shape, strict=False):
            if known.setdefault(dimension, size) != size:
                raise EdgecompError(
                    Code.INPUT_MISMATCH,
                    f"dimension '{dimension}' cannot be {known[dimension]} and {size} at once",
                    node=name,
                )
    found = {}
    for name, array in inputs.items():
        port = ports[name]
        sizes = [
            known.get(dimension, size)
            for dimension, size in zip(port.dimensions, array.shape, strict=False)
        ]
        wanted = shapes.get(name, tuple(sizes) or array.shape)
        found[name] = np.ascontiguousarray(array[tuple(slice(0, size) for size in wanted)])
    return found


def _checked(port: Port, array: Array) -> Array:
    if port.dimensions and array.dtype == np.dtype(port.dtype):
        return np.ascontiguousarray(array).reshape(array.shape)  # the runner knows the bounds
    if array.shape != tuple(port.shape) or array.dtype != np.dtype(port.dtype):
        raise EdgecompError(
            Code.INPUT_MISMATCH,
            f"input '{port.name}' is {array.dtype}{list(array.shape)}, the model takes "
            f"{port.dtype}{list(port.shape)}",
            node=port.name,
        )
    return np.ascontiguousarray(array).reshape(port.shape)


def read_output(path: pathlib.Path, port: Port, shape: tuple[int, ...] | None = None) -> Array:
    """A file that the runner wrote, as an array of the port's shape or a given one."""
    dtype = np.dtype(port.dtype)
    content = path.read_bytes()
    shape = tuple(port.shape) if shape is None else shape
    wanted = dtype.itemsize * math.prod(shape)
    if len(content) != wanted:
        raise EdgecompError(
            Code.DEVICE_FAILED,
            f"the runner wrote {len(content)} bytes of output '{port.name}', not {wanted}",
        )
    return np.frombuffer(content, dtype).reshape(shape)


def parse_measurement(
    text: str, device: str, options: MeasureOptions, *, emulated: bool = False
) -> Measurement:
    """Read the runner's ``--json``.

    Raises:
        EdgecompError: DEVICE_FAILED when it is not what the runner writes.
    """
    try:
        content = json.loads(text)
        return Measurement(
            device=device,
            emulated=emulated,
            options=options,
            load_ns=int(content["load_ns"]),
            first_run_ns=int(content["first_run_ns"]),
            wall=summarize(content["run_ns"]),
            cpu=summarize(content["cpu_ns"]),
            peak_rss_bytes=int(content["peak_rss_bytes"]),
            calls=tuple(_call(i, c) for i, c in enumerate(content.get("profile") or ())),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise EdgecompError(
            Code.DEVICE_FAILED,
            f"the runner's answer on {device} cannot be read ({error!r}): {text[:200]}",
            hint="was the bundle built by another version of edgecomp?",
        ) from None


def _call(index: int, content: Mapping[str, Any]) -> CallTime:
    runs = max(1, int(content["runs"]))
    return CallTime(
        index=index,
        operator=content["operator"],
        schedule=content["schedule"],
        nodes=content["nodes"],
        source=content["source"],
        multiply_adds=int(content["multiply_adds"]),
        mean_ns=int(content["total_ns"]) / runs,
        minimum_ns=float(content["minimum_ns"]),
    )
