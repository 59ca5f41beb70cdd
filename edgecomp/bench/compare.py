"""A bundle against other runtimes: all loaded, timed in turns, in one go.

Programs timed one after the other see a machine at several moments. Here each has a process of
its own; they take turns round by round, and the order within a round alternates. With one thread
the processor's time is compared, which other load on the machine disturbs least; with more, the
clock's.
"""

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from edgecomp.bench.device import Device
from edgecomp.bench.engines import BundleEngine, Engine, Times, timed_inputs
from edgecomp.bench.files import BundleFiles
from edgecomp.bench.peer_engine import PeerEngine, PeerModel
from edgecomp.bench.peers.catalog import CATALOG
from edgecomp.bench.runner import MeasureOptions
from edgecomp.bench.statistics import Ratio, Summary, paired_ratio, summarize
from edgecomp.errors import Code, EdgecompError, nearest_hint
from edgecomp.held import scratch_folder
from edgecomp.plan.values import Array
from edgecomp.progress import Progress, silent

Clock = Literal["cpu", "wall"]

#: Rounds of turns: enough for an interval, few enough for slow models.
ROUNDS = 15
#: Below this the output of a float model was not computed by the same network.
FLOAT_SQNR_DB = 40.0
#: The same for int8, also with the worst of calibrations.
INT8_SQNR_DB = 3.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class PeerSettings:
    """Where other runtimes and their models are, by name.

    Attributes:
        pythons: interpreter that has the runtime; by default the one that runs edgecomp.
        files: the model in the runtime's own form; by default it is converted.
        model: ONNX model to compare with; by default the bundle's portable model. The float
            model answers what the whole way gained.
    """

    pythons: Mapping[str, str] = dataclasses.field(default_factory=dict)
    files: Mapping[str, pathlib.Path] = dataclasses.field(default_factory=dict)
    model: pathlib.Path | None = None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What came out.

    Attributes:
        engine, engine_version: the other runtime.
        form: what it ran: the file, and how it was quantized.
        threads: of both.
        clock: ``cpu`` or ``wall``: which time is compared.
        own, other: all runs of each.
        ratio: time of the other divided by the bundle's own.
        own_sqnr_db, other_sqnr_db: power of the float model's output over that of the
            difference from it; None where the outputs have other sizes.
        same_network: whether the other's output is near enough to come from the same network.
    """

    engine: str
    engine_version: str
    form: str
    threads: int
    clock: Clock
    own: Summary
    other: Summary
    ratio: Ratio
    own_sqnr_db: float | None
    other_sqnr_db: float | None
    same_network: bool


def compare_engines(
    bundle: BundleFiles,
    device: Device,
    engines: Sequence[str],
    options: MeasureOptions,
    *,
    max_seconds: float = 30.0,
    settings: PeerSettings | None = None,
    progress: Progress = silent,
) -> list[Comparison]:
    """Time a bundle and other runtimes in turns on this machine.

    Args:
        bundle: with a runner for this machine.
        device: where the bundle runs; has to be ``local``.
        engines: names of ``peers.catalog.CATALOG``.
        options: ``threads`` is for all.
        max_seconds: for all turns; a turn makes as many runs as fit, at least one.
        settings: where the runtimes are.
        progress: called with the rounds done.

    Raises:
        EdgecompError: USAGE, FILE_MISSING, PACKAGE_MISSING, DEVICE_FAILED, TOOLCHAIN_MISSING.
    """
    settings = settings or PeerSettings()
    for name in (*engines, *settings.pythons, *settings.files):
        if name not in CATALOG:
            raise EdgecompError(
                Code.USAGE, f"unknown engine '{name}'", hint=nearest_hint(name, CATALOG)
            )
    if device.spec != "local":
        raise EdgecompError(
            Code.USAGE,
            f"other runtimes run on this machine only, not on {device.spec}",
            hint="compare with --device local",
        )
    inputs = timed_inputs(bundle, options.shapes)
    if settings.model is None:
        _require_largest(bundle, inputs)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        model = PeerModel(bundle, inputs, folder, settings.model)
        own: Engine = stack.enter_context(
            contextlib.closing(BundleEngine(bundle, options.threads, inputs, options.plan))
        )
        others: list[Engine] = []
        for name in engines:
            progress(f"convert for {name}")
            others.append(
                stack.enter_context(
                    contextlib.closing(_open_peer(name, model, options.threads, settings))
                )
            )
        seconds = max_seconds / ((1 + len(others)) * (ROUNDS + 1))
        turns = take_turns([own, *others], seconds, progress)
    return [
        _comparison(own, other, turns[0], rounds, options.threads, model)
        for other, rounds in zip(others, turns[1:], strict=True)
    ]


def take_turns(
    engines: Sequence[Engine],
    seconds: float,
    progress: Progress = silent,
    *,
    rounds: int = ROUNDS,
) -> list[list[Times]]:
    """One round to warm up, then the rounds that count.

    Args:
        engines: programs; the order within a round alternates.
        seconds: for each turn.
        progress: called with the rounds done.
        rounds: that count.

    Returns:
        For each engine its rounds.
    """
    turns: list[list[Times]] = [[] for _ in engines]
    for index in range(rounds + 1):
        order = range(len(engines))
        for i in order if index % 2 else reversed(order):
            times = engines[i].time(seconds)
            if index:
                turns[i].append(times)
        progress("compare in turns", index, rounds)
    return turns


def sqnr_db(reference: Sequence[Array], found: Sequence[Array]) -> float | None:
    """Signal to quantization noise of all outputs together; None where sizes differ."""
    if [a.size for a in reference] != [a.size for a in found]:
        return None
    exact = np.concatenate([a.astype(np.float64).ravel() for a in reference])
    difference = np.concatenate([a.astype(np.float64).ravel() for a in found]) - exact
    noise, signal = float((difference**2).sum()), float((exact**2).sum())
    if not np.isfinite(noise):
        return float("-inf")
    smallest = float(np.finfo(np.float64).tiny)
    return 10 * (math.log10(max(signal, smallest)) - math.log10(max(noise, smallest)))


def _require_largest(bundle: BundleFiles, inputs: Mapping[str, Array]) -> None:
    """The portable model of a bundle with dynamic dimensions has the largest sizes alone."""
    for port in bundle.inputs:
        found = inputs[port.name].shape
        if found != tuple(port.shape):
            raise EdgecompError(
                Code.USAGE,
                f"other runtimes read the bundle's model, in which input '{port.name}' is "
                f"{list(port.shape)}, not {list(found)}",
                node=port.name,
                hint="compare at the largest sizes, or build a bundle of that size",
            )


def _open_peer(
    name: str, model: PeerModel, threads: int, settings: PeerSettings
) -> PeerEngine:
    file = settings.files.get(name)
    python = settings.pythons.get(name)
    if python is None:
        return PeerEngine(name, model, threads, file=file)
    return PeerEngine(name, model, threads, file=file, python=python)


def _comparison(
    own: Engine,
    other: Engine,
    own_turns: Sequence[Times],
    other_turns: Sequence[Times],
    threads: int,
    model: PeerModel,
) -> Comparison:
    clock: Clock = "cpu" if threads == 1 else "wall"
    own_rounds = [_times(turn, clock) for turn in own_turns]
    other_rounds = [_times(turn, clock) for turn in other_turns]
    found = sqnr_db(model.reference, other.outputs)
    least = INT8_SQNR_DB if model.int8 else FLOAT_SQNR_DB
    return Comparison(
        engine=other.name,
        engine_version=other.version,
        form=other.form,
        threads=threads,
        clock=clock,
        own=summarize([t for r in own_rounds for t in r]),
        other=summarize([t for r in other_rounds for t in r]),
        ratio=paired_ratio(own_rounds, other_rounds),
        own_sqnr_db=sqnr_db(model.reference, own.outputs),
        other_sqnr_db=found,
        same_network=found is not None and found >= least,
    )


def _times(times: Times, clock: Clock) -> list[int]:
    return times.cpu_ns if clock == "cpu" else times.wall_ns
