"""Run the float model over calibration samples and collect the range of every value."""

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Sized

import numpy as np
import onnx_ir as ir

from edgecomp.calibrate.histogram import Histogram, limits_of
from edgecomp.calibrate.ranges import (
    ALIASES,
    DEFAULT_PERCENTILE,
    METHODS,
    Range,
    minmax_range,
    range_of,
)
from edgecomp.errors import Code, EdgecompError, nearest_hint
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.run import Runner
from edgecomp.graph.shapes import static_shape

Sample = Mapping[str, AnyArray]
#: Called with (samples done, samples in all, which is None where it is not known).
Progress = Callable[[int, int | None], None]

#: How the range of one value is chosen: method and percentile.
Choice = tuple[str, float]

_FLOAT_BYTES = 4
#: Intermediate values of one sample that may be in memory at once.
DEFAULT_MEMORY_BYTES = 512 << 20


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
) -> dict[str, Range]:
    """Ranges of float32 values over samples.

    The samples are read once; where the wanted values of one sample need more memory than
    allowed, once per part of them, for which ``samples`` must be iterable again.

    Args:
        model: float model with static shapes.
        samples: feeds of the graph inputs.
        method: one of ``ranges.METHODS`` or ``ranges.ALIASES``.
        percentile: for the method of that name.
        values: names of values, None for every float32 value of the main graph.
        choices: values with another method and percentile than these.
        memory_bytes: for the values of one sample.
        progress: told after every sample.

    Returns:
        Value name -> range, not finite where a NaN or an infinity was seen.

    Raises:
        EdgecompError: CALIBRATION_EMPTY without any sample, USAGE for an unknown method.
    """
    chosen = ALIASES.get(method, method)
    if chosen not in METHODS:
        raise EdgecompError(
            Code.USAGE,
            f"unknown calibration method '{method}'",
            hint=nearest_hint(method, [*METHODS, *ALIASES]),
        )
    wanted = _float_values(model) if values is None else list(dict.fromkeys(values))
    by_value = {name: (choices or {}).get(name, (chosen, percentile)) for name in wanted}
    ranges: dict[str, Range] = {}

    def keep(part: Sequence[str], observer: "_Observer") -> None:
        ranges.update({name: observer.range_of(name, *by_value[name]) for name in part})

    plain = {name for name, (method, _) in by_value.items() if method == "minmax"}
    _observe_parts(model, samples, wanted, plain, keep, memory_bytes, progress)
    return ranges


def collect_histograms(
    model: ir.Model,
    samples: Iterable[Sample],
    values: Sequence[str],
    *,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    progress: Progress | None = None,
) -> dict[str, Histogram]:
    """Histograms of float32 values over samples, from which every method takes its range.

    Arguments and errors are those of ``collect_ranges``.
    """
    histograms: dict[str, Histogram] = {}

    def keep(_part: Sequence[str], observer: "_Observer") -> None:
        histograms.update(observer.histograms)

    _observe_parts(model, samples, values, set(), keep, memory_bytes, progress)
    return histograms


def _observe_parts(
    model: ir.Model,
    samples: Iterable[Sample],
    values: Sequence[str],
    plain: Collection[str],
    keep: Callable[[Sequence[str], "_Observer"], None],
    memory_bytes: int,
    progress: Progress | None,
) -> None:
    parts = _parts(model, values, memory_bytes)
    for index, part in enumerate(parts):
        observer = _Observer(plain)
        _observe(model, samples, part, observer, _within(progress, samples, index, len(parts)))
        keep(part, observer)


class _Observer:
    """A histogram per value; of values in ``plain`` the least and the greatest number alone.

    Attributes:
        histograms: of the values that have one.
    """

    def __init__(self, plain: Collection[str]) -> None:
        self._plain = plain
        self._limits: dict[str, tuple[float, float]] = {}
        self.histograms: dict[str, Histogram] = {}

    def add(self, name: str, array: AnyArray) -> None:
        """Count the elements of a value."""
        if name not in self._plain:
            self.histograms.setdefault(name, Histogram()).add(array)
            return
        low, high = limits_of(array.reshape(-1))
        before = self._limits.get(name, (np.inf, -np.inf))
        # np.minimum keeps a NaN, min does not.
        merged = np.minimum(before[0], low), np.maximum(before[1], high)
        self._limits[name] = (float(merged[0]), float(merged[1]))

    def range_of(self, name: str, method: str, percentile: float) -> Range:
        """The range of a value by a method's name."""
        if name in self._plain:
            return minmax_range(*self._limits[name])
        return range_of(self.histograms[name], method, percentile)


def _observe(
    model: ir.Model,
    samples: Iterable[Sample],
    names: Sequence[str],
    observer: _Observer,
    progress: Callable[[int], None],
) -> None:
    inputs = {value.name for value in model.graph.inputs}
    runner = Runner(model, [name for name in names if name not in inputs], optimize=True)
    count = 0
    for sample in samples:
        results = runner(sample) if runner.names else {}
        for name in names:
            observer.add(name, sample[name] if name in inputs else results[name])
        count += 1
        progress(count)
    if count == 0:
        raise EdgecompError(
            Code.CALIBRATION_EMPTY,
            "the calibration set has no samples",
            hint="an iterator that was used up is empty: pass a list or a function",
        )


def _within(
    progress: Progress | None, samples: Iterable[Sample], index: int, parts: int
) -> Callable[[int], None]:
    """A progress function for one of several rounds over the samples."""
    total: int | None = getattr(samples, "total", None)
    if isinstance(samples, Sized):
        total = len(samples)

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
    parts: list[list[str]] = [[]]
    used = 0
    for name in names:
        size = sizes.get(name, 0)
        if parts[-1] and used + size > memory_bytes:
            parts.append([])
            used = 0
        parts[-1].append(name)
        used += size
    return parts
