"""Run the float model over calibration samples and collect the range of every value."""

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Sized

import numpy as np
import onnx_ir as ir

from edgecomp.calibrate.histogram import Histogram
from edgecomp.calibrate.identity import Sample, can_be_read_again, chained, with_digests
from edgecomp.calibrate.observation import Kind, Observation, Values, kind_of
from edgecomp.calibrate.parts import in_parts
from edgecomp.calibrate.ranges import (
    ALIASES,
    ALL_METHODS,
    DEFAULT_PERCENTILE,
    Range,
)
from edgecomp.calibrate.settle import Choice, Drift, drifts_of, has_settled
from edgecomp.calibrate.statistics import InputStatistics
from edgecomp.calibrate.store import ModelStore, Store
from edgecomp.errors import Code, EdgecompError, nearest_hint
from edgecomp.graph.arguments import function_of
from edgecomp.graph.run import Runner
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.unary import Unary

#: Called with (samples done, samples in all, which is None where it is not known).
Progress = Callable[[int, int | None], None]


_FLOAT_BYTES = 4
#: Intermediate values of one sample that may be in memory at once.
DEFAULT_MEMORY_BYTES = 512 << 20


class Seen:
    """What calibration saw besides ranges; ``collect_ranges`` fills it in.

    Attributes:
        samples: how many were observed.
        settled: whether reading stopped because ranges no longer changed.
        inputs: statistics of the graph inputs, by name.
        repeated: samples that are the same as an earlier one.
        drifts: values whose range the second half of the samples changed, most changed first.
        others: ranges by the choices asked for, of values that have a histogram.
    """

    def __init__(self, others: Iterable[Choice] = ()) -> None:
        self.others: dict[Choice, dict[str, Range]] = {choice: {} for choice in others}
        self.samples = self.repeated = 0
        self.settled = False
        self.inputs: dict[str, InputStatistics] = {}
        self.drifts: list[Drift] = []


def collect_ranges(
    model: ir.Model,
    samples: Iterable[Sample],
    *,
    method: str = "minmax",
    percentile: float = DEFAULT_PERCENTILE,
    values: Sequence[str] | None = None,
    choices: Mapping[str, Choice] | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    progress: Progress | None = None,
    tolerance: float = 0.0,
    store: Store | None = None,
    seen: Seen | None = None,
) -> dict[str, Range]:
    """Ranges of float32 values over samples.

    The samples are read once; where the wanted values of one sample need more memory than
    allowed, once per part of them, for which ``samples`` must be iterable again. With a store
    they are read once more, as far as they are those of an observation that is kept.

    Args:
        model: float model with static shapes.
        samples: feeds of the graph inputs.
        method: one of ``ranges.ALL_METHODS`` or ``ranges.ALIASES``.
        percentile: for the method of that name.
        values: names of values, None for every float32 value of the main graph.
        choices: values with another method and percentile than these.
        memory_bytes: for the values of one sample.
        progress: told after every sample.
        tolerance: stop where doubling the samples changed no range by more than this share of
            it; 0 reads all samples.
        store: where what is observed is kept and found again.
        seen: told what else was seen.

    Returns:
        Value name -> range, not finite where a NaN or an infinity was seen.

    Raises:
        EdgecompError: CALIBRATION_EMPTY without any sample, USAGE for an unknown method.
    """
    chosen = ALIASES.get(method, method)
    if chosen not in ALL_METHODS:
        raise EdgecompError(
            Code.USAGE,
            f"unknown calibration method '{method}'",
            hint=nearest_hint(method, [*ALL_METHODS, *ALIASES]),
        )
    wanted = _float_values(model) if values is None else list(dict.fromkeys(values))
    by_value = {name: (choices or {}).get(name, (chosen, percentile)) for name in wanted}
    kinds = {name: kind_of(each) for name, (each, _) in by_value.items()}
    functions = functions_of(model, wanted)
    ranges: dict[str, Range] = {}

    def range_of(values: Values, name: str, choice: Choice) -> Range:
        return values.range_of(name, *choice, functions.get(name))

    def keep(part: Sequence[str], observation: Observation) -> None:
        values = observation.values
        ranges.update({name: range_of(values, name, by_value[name]) for name in part})
        if seen is None:
            return
        for choice, found in seen.others.items():
            found.update({n: range_of(values, n, choice) for n in values.histograms})
        seen.drifts += drifts_of(
            observation, {n: by_value[n] for n in part}, ranges, functions
        )
        seen.drifts.sort(key=lambda drift: -drift.share)
        if not seen.inputs:
            seen.samples, seen.inputs = observation.samples, observation.inputs
            seen.repeated = observation.repeats.repeated
            seen.settled = observation.settled

    stop = _stop_rule(by_value, tolerance, functions)
    _observe_parts(model, samples, kinds, keep, memory_bytes, progress, stop, store)
    return ranges


def functions_of(model: ir.Model, names: Iterable[str]) -> dict[str, Unary]:
    """Of the values that one function alone reads, by their names, the function."""
    values = itertools.chain(
        model.graph.inputs, (value for node in model.graph for value in node.outputs)
    )
    known = {value.name: value for value in values}
    found = {name: function_of(known[name]) for name in names if name in known}
    return {name: function for name, function in found.items() if function is not None}


def collect_histograms(
    model: ir.Model,
    samples: Iterable[Sample],
    values: Sequence[str],
    *,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    progress: Progress | None = None,
    store: Store | None = None,
) -> dict[str, Histogram]:
    """Histograms of float32 values over samples, from which every method takes its range.

    Arguments and errors are those of ``collect_ranges``.
    """
    histograms: dict[str, Histogram] = {}

    def keep(_part: Sequence[str], observation: Observation) -> None:
        histograms.update(observation.values.histograms)

    kinds: dict[str, Kind] = dict.fromkeys(values, "histogram")
    _observe_parts(model, samples, kinds, keep, memory_bytes, progress, _never, store)
    return histograms


Stop = Callable[[Observation], bool]


def _never(_observation: Observation) -> bool:
    return False


def _stop_rule(
    choices: Mapping[str, Choice], tolerance: float, functions: Mapping[str, Unary]
) -> Stop:
    if tolerance <= 0:
        return _never
    return lambda observation: has_settled(
        observation, {n: choices[n] for n in observation.values.kinds}, tolerance, functions
    )


def _observe_parts(
    model: ir.Model,
    samples: Iterable[Sample],
    kinds: Mapping[str, Kind],
    keep: Callable[[Sequence[str], Observation], None],
    memory_bytes: int,
    progress: Progress | None,
    stop: Stop,
    store: Store | None,
) -> None:
    inputs = [value.name or "" for value in model.graph.inputs]
    if not can_be_read_again(samples):
        store = None  # what is read to look it up would be gone
    parts = _parts(model, list(kinds), memory_bytes)
    for index, part in enumerate(parts):
        part_kinds = {name: kinds[name] for name in part}
        kept = store.open(model, part_kinds, inputs) if store is not None else None
        report = _within(progress, samples, index, len(parts))
        keep(part, _observe(model, samples, part_kinds, inputs, report, stop, kept))


def _observe(
    model: ir.Model,
    samples: Iterable[Sample],
    kinds: Mapping[str, Kind],
    inputs: Collection[str],
    progress: Callable[[int], None],
    stop: Stop,
    store: ModelStore | None,
) -> Observation:
    found = store.find(samples) if store is not None else None
    if found is not None:
        observation, whole = found
        observation.settled = stop(observation)
        if whole or observation.settled:
            progress(observation.samples)
            return observation
        if _continue(model, samples, observation, progress, stop, store):
            return observation
        # A source that gives other samples each time, as one that shuffles does.
    observation = Observation(kinds, inputs)
    _continue(model, samples, observation, progress, stop, store)
    if observation.samples == 0:
        raise EdgecompError(
            Code.CALIBRATION_EMPTY,
            "the calibration set has no samples",
            hint="an iterator that was used up is empty: pass a list or a function",
        )
    return observation


def _continue(
    model: ir.Model,
    samples: Iterable[Sample],
    observation: Observation,
    progress: Callable[[int], None],
    stop: Stop,
    store: ModelStore | None,
) -> bool:
    """Observe the samples behind those that were seen; False where they begin otherwise."""
    computed = [name for name in observation.values.kinds if name not in observation.inputs]
    runner = Runner(model, computed, optimize=True)
    known, chain = observation.samples, b""
    for count, (sample, digest) in enumerate(with_digests(samples), 1):
        chain = chained(chain, digest)
        if count < known:
            continue
        if count == known:
            if chain != observation.chain:
                return False
            progress(count)
            continue
        results = runner(sample) if runner.names else {}
        observation.add(sample, results, digest, chain)
        progress(count)
        observation.settled = stop(observation)
        if observation.settled:
            break
        if store is not None:
            store.checkpoint(observation)
    if store is not None and observation.samples:
        store.finish(observation)
    return observation.samples > known or known == 0


def samples_known(samples: Iterable[Sample]) -> int | None:
    """How many samples there are, None where only reading tells."""
    total: int | None = getattr(samples, "total", None)
    return len(samples) if isinstance(samples, Sized) else total


def _within(
    progress: Progress | None, samples: Iterable[Sample], index: int, parts: int
) -> Callable[[int], None]:
    """A progress function for one of several rounds over the samples."""
    total = samples_known(samples)

    def report(count: int) -> None:
        if progress is None:
            return
        if total is None:
            progress(count, None)
        else:
            progress(index * total + count, parts * total)

    return report


def _float_values(model: ir.Model) -> list[str]:
    values = itertools.chain(
        model.graph.inputs, (value for node in model.graph for value in node.outputs)
    )
    return [v.name for v in values if v.name and v.dtype == ir.DataType.FLOAT]


def _parts(model: ir.Model, names: Sequence[str], memory_bytes: int) -> list[list[str]]:
    """Names in groups whose values together stay within the memory allowed."""
    sizes = {
        value.name: int(np.prod(static_shape(value) or (0,))) * _FLOAT_BYTES
        for node in model.graph
        for value in node.outputs
    }
    # Without any value the samples are looked at all the same.
    return in_parts(names, lambda name: sizes.get(name, 0), memory_bytes) or [[]]
