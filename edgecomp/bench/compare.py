"""A bundle against another runtime: both loaded, timed in turns, in one go.

Two programs timed one after the other see a machine at two moments. Here each has a process of
its own; they take turns round by round, and the order within a round alternates. With one thread
the processor's time is compared, which other load on the machine disturbs least; with more, the
clock's.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable
from typing import Literal

from edgecomp.bench.device import Device
from edgecomp.bench.engines import BundleEngine, Engine, OnnxruntimeEngine, Times
from edgecomp.bench.files import BundleFiles
from edgecomp.bench.runner import MeasureOptions
from edgecomp.bench.statistics import Ratio, Summary, paired_ratio, summarize
from edgecomp.errors import Code, EdgecompError, nearest_hint
from edgecomp.progress import Progress, silent

Clock = Literal["cpu", "wall"]
Start = Callable[[BundleFiles, pathlib.Path, int], Engine]

#: Other runtimes by name.
ENGINES: dict[str, Start] = {"onnxruntime": OnnxruntimeEngine}
#: Pairs of turns: enough for an interval, few enough for slow models.
ROUNDS = 15


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What came out.

    Attributes:
        engine, engine_version: the other runtime.
        model: file the other runtime ran.
        threads: of both.
        clock: ``cpu`` or ``wall``: which time is compared.
        own, other: all runs of each.
        ratio: time of the other divided by the bundle's own.
    """

    engine: str
    engine_version: str
    model: str
    threads: int
    clock: Clock
    own: Summary
    other: Summary
    ratio: Ratio


def compare_engines(
    bundle: BundleFiles,
    device: Device,
    engine: str,
    options: MeasureOptions,
    *,
    max_seconds: float = 30.0,
    model: pathlib.Path | None = None,
    progress: Progress = silent,
) -> Comparison:
    """Time a bundle and another runtime in turns on this machine.

    Args:
        bundle: with a runner for this machine.
        device: where the bundle runs; has to be ``local``.
        engine: a name of ``ENGINES``.
        options: ``threads`` is for both.
        max_seconds: for all turns; a turn makes as many runs as fit, at least one.
        model: what the other runtime runs; by default the bundle's portable model. The float
            model answers what the whole way gained.
        progress: called with the rounds done.

    Raises:
        EdgecompError: USAGE, FILE_MISSING, PACKAGE_MISSING, DEVICE_FAILED, TOOLCHAIN_MISSING.
    """
    if engine not in ENGINES:
        raise EdgecompError(
            Code.USAGE, f"unknown engine '{engine}'", hint=nearest_hint(engine, ENGINES)
        )
    if device.spec != "local":
        raise EdgecompError(
            Code.USAGE,
            f"{engine} runs on this machine only, not on {device.spec}",
            hint="compare with --device local",
        )
    path = model or bundle.model_path
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(contextlib.closing(BundleEngine(bundle, options.threads)))
        other = stack.enter_context(
            contextlib.closing(ENGINES[engine](bundle, path, options.threads))
        )
        turns = take_turns(own, other, max_seconds / (2 * (ROUNDS + 1)), progress)
    clock: Clock = "cpu" if options.threads == 1 else "wall"
    own_rounds = [_times(a, clock) for a, _ in turns]
    other_rounds = [_times(b, clock) for _, b in turns]
    return Comparison(
        engine=other.name,
        engine_version=other.version,
        model=path.name,
        threads=options.threads,
        clock=clock,
        own=summarize([t for r in own_rounds for t in r]),
        other=summarize([t for r in other_rounds for t in r]),
        ratio=paired_ratio(own_rounds, other_rounds),
    )


def take_turns(
    own: Engine,
    other: Engine,
    seconds: float,
    progress: Progress = silent,
    *,
    rounds: int = ROUNDS,
) -> list[tuple[Times, Times]]:
    """One round to warm up, then the rounds that count.

    Args:
        own: a program.
        other: another; the order within a round alternates.
        seconds: for each turn.
        progress: called with the rounds done.
        rounds: that count.
    """
    turns = []
    for index in range(rounds + 1):
        pair: dict[Engine, Times] = {}
        for engine in (own, other) if index % 2 else (other, own):
            pair[engine] = engine.time(seconds)
        if index:
            turns.append((pair[own], pair[other]))
        progress("compare in turns", index, rounds)
    return turns


def _times(times: Times, clock: Clock) -> list[int]:
    return times.cpu_ns if clock == "cpu" else times.wall_ns
