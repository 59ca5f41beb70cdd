"""Time the candidates of one layer on a device, in rounds that run each of them once."""

import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Iterator, Sequence

from edgecomp.bench.device import Device, Place
from edgecomp.bench.line_process import LineProcess
from edgecomp.bench.statistics import Summary, summarize
from edgecomp.bundle.write import write_bundle
from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.held import scratch_folder
from edgecomp.lower.compile import compile_kernels
from edgecomp.plan.plan import Plan
from edgecomp.schedules.candidates import Candidate, emit_candidate
from edgecomp.schedules.cost_table import Measured
from edgecomp.schedules.params import ParamsError
from edgecomp.schedules.schedule import KernelCall
from edgecomp.tune.layers import Layer
from edgecomp.tune.program import constant_bytes, timing_plan

logger = logging.getLogger(__name__)

#: Rounds whose times do not count: the first touch of every page, clocks that go up.
WARMUP_ROUNDS = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    """How layers are measured.

    Attributes:
        threads: that run each kernel.
        rounds: that count.
        flushed_bytes: read before each kernel, to empty the caches of its weights.
        cache: folder of compiled kernels.
    """

    threads: int
    rounds: int
    flushed_bytes: int
    cache: pathlib.Path | None = None


def measure_layer(
    layer: Layer, target: Target, device: Device, settings: MeasureSettings
) -> list[Measured]:
    """Compile and time all candidates of a layer.

    Returns:
        A measurement for each distinct kernel: of two texts that mean the same one, the first.

    Raises:
        EdgecompError: DEVICE_UNREACHABLE, DEVICE_FAILED, TOOLCHAIN_MISSING.
    """
    distinct = _distinct(layer, target)
    emitted = [calls for _, calls in distinct]
    timing = timing_plan(layer.operation, emitted, target, settings.flushed_bytes)
    timing.plan.objects = compile_kernels(timing.kernels, target, cache=settings.cache)
    with running(timing.plan, target, device, settings) as process:
        rounds = [
            _round(profile(process), timing.timed)
            for _ in range(WARMUP_ROUNDS + settings.rounds)
        ]
    times = zip(*rounds[WARMUP_ROUNDS:], strict=True)
    return [
        _measured(layer, candidate, calls, summarize(own))
        for (candidate, calls), own in zip(distinct, times, strict=True)
    ]


def _distinct(layer: Layer, target: Target) -> list[tuple[Candidate, list[KernelCall]]]:
    """Candidates that fit, each kernel once."""
    found: dict[tuple[tuple[str, int], ...], tuple[Candidate, list[KernelCall]]] = {}
    for candidate in layer.candidates:
        try:
            calls = emit_candidate(layer.operation, target, candidate)
        except ParamsError as error:  # a schedule that offers what it refuses
            logger.info("%s %s: %s", candidate.schedule, candidate.params, error)
            continue
        same = tuple((call.kernel.symbol, call.work_items) for call in calls)
        found.setdefault(same, (candidate, calls))
    return list(found.values())


@contextlib.contextmanager
def running(
    plan: Plan, target: Target, device: Device, settings: MeasureSettings
) -> Iterator[LineProcess]:
    """A plan as a bundle on the device, loaded and ready for ``profile``."""
    with scratch_folder() as folder:
        bundle = write_bundle(
            plan,
            target,
            folder / "bundle",
            model_bytes=b"",
            golden=[],
            facts={},
            require_library=True,
            cache=settings.cache,
        )
        with device.place(bundle) as place, _serving(place, settings.threads) as process:
            yield process


@contextlib.contextmanager
def _serving(place: Place, threads: int) -> Iterator[LineProcess]:
    """The runner, ready for ``profile``; afterwards the device is as it was."""
    try:
        process = place.serve(
            [
                *("--weights", place.weights),
                *("--threads", str(threads)),
                *("--warmup-runs", "0", "--num-runs", "1"),
                "--random-inputs",
            ]
        )
        try:
            process.answer()
            yield process
        finally:
            process.close()
    finally:
        place.discard()


def profile(process: LineProcess) -> list[int]:
    """Nanoseconds of each call of the plan in one more run."""
    answer = process.ask("profile 1")
    try:
        return [int(call["total_ns"]) for call in answer["profile"]]
    except (KeyError, TypeError, ValueError):
        raise EdgecompError(
            Code.DEVICE_FAILED, f"the runner's answer cannot be read: {str(answer)[:200]}"
        ) from None


def _round(times_ns: Sequence[int], timed: Sequence[Sequence[int]]) -> list[float]:
    """Nanoseconds of each candidate in one round."""
    return [float(sum(times_ns[i] for i in own)) for own in timed]


def _measured(
    layer: Layer, candidate: Candidate, calls: list[KernelCall], times: Summary
) -> Measured:
    return Measured(
        layer=layer.signature,
        schedule=candidate.schedule,
        params=candidate.params,
        ns=max(1, round(times.p25_ns)),
        spread=round(times.spread, 3),
        runs=times.runs,
        constant_bytes=constant_bytes(calls),
    )
