"""What was seen of a model's values over samples, and its form in a file."""

import dataclasses
import io
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

import numpy as np

from edgecomp.calibrate.histogram import Histogram, limits_of
from edgecomp.calibrate.ranges import Range, minmax_range, range_of, within_changes
from edgecomp.calibrate.statistics import InputStatistics, Repeats
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.unary import Unary

#: What is kept of a value: a histogram, the ends alone, or moving averages of each sample's ends.
Kind = Literal["histogram", "limits", "average"]

#: Weight of a sample in a moving average, as in torch's and onnxruntime's observers.
AVERAGING = 0.01
#: Copies of what was seen are made after this many samples and each doubling of it.
FIRST_COPY = 16
_COPIES = 2
_HISTOGRAM_FIELDS = ("low", "high", "reach", "zeros", "finite")


def kind_of(method: str) -> Kind:
    """What a method chooses ranges from."""
    if method == "minmax":
        return "limits"
    return "average" if method == "ema" else "histogram"


@dataclasses.dataclass
class Values:
    """Of each value what its kind says.

    Attributes:
        kinds: by the value's name.
        ends: low and high of values that have no histogram.
        histograms: of the others.
    """

    kinds: Mapping[str, Kind]
    ends: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    histograms: dict[str, Histogram] = dataclasses.field(default_factory=dict)

    def add(self, name: str, array: AnyArray) -> None:
        """Count the elements of a value."""
        kind = self.kinds[name]
        if kind == "histogram":
            self.histograms.setdefault(name, Histogram()).add(array)
            return
        low, high = limits_of(array.reshape(-1))
        before = self.ends.get(name)
        if before is None:
            self.ends[name] = (low, high)
        elif kind == "average":
            self.ends[name] = (
                before[0] + AVERAGING * (low - before[0]),
                before[1] + AVERAGING * (high - before[1]),
            )
        else:
            # np.minimum keeps a NaN, min does not.
            low, high = np.minimum(before[0], low), np.maximum(before[1], high)
            self.ends[name] = (float(low), float(high))

    def range_of(
        self, name: str, method: str, percentile: float, function: Unary | None = None
    ) -> Range:
        """The range of a value by a method's name, and by the function that alone reads it."""
        if self.kinds[name] == "histogram":
            return range_of(self.histograms[name], method, percentile, function)
        return within_changes(minmax_range(*self.ends[name]), function)

    def copy(self) -> "Values":
        """As it is now."""
        return Values(
            self.kinds, dict(self.ends), {n: h.copy() for n, h in self.histograms.items()}
        )


class Observation:
    """What was seen so far: all that calibration needs to go on from here.

    Attributes:
        values: of the model.
        inputs: statistics of the inputs, by name.
        repeats: of samples.
        samples: how many were seen.
        chain: digest of all of them, in their order.
        first: digest of the first one.
        copies: of ``values`` at the last two powers of two of samples.
        settled: whether no more samples were read because ranges no longer changed.
    """

    def __init__(self, kinds: Mapping[str, Kind], inputs: Collection[str]) -> None:
        self.values = Values(dict(kinds))
        self.inputs = {name: InputStatistics() for name in inputs}
        self.repeats = Repeats()
        self.samples = 0
        self.chain = self.first = b""
        self.copies: dict[int, Values] = {}
        self.settled = False

    def add(
        self,
        sample: Mapping[str, AnyArray],
        results: Mapping[str, AnyArray],
        digest: bytes,
        chain: bytes,
    ) -> None:
        """Note a sample.

        Args:
            sample: of the graph inputs.
            results: of the other values.
            digest: of the sample.
            chain: of all samples up to this one.
        """
        for name, statistics in self.inputs.items():
            statistics.add(sample[name])
        for name in self.values.kinds:
            self.values.add(name, sample[name] if name in sample else results[name])
        self.repeats.add(digest)
        self.first = self.first or digest
        self.chain = chain
        self.samples += 1
        if self.samples >= FIRST_COPY and self.samples & (self.samples - 1) == 0:
            self.copies[self.samples] = self.values.copy()
            for count in sorted(self.copies)[:-_COPIES]:
                del self.copies[count]

    def half(self) -> Values | None:
        """What was seen of about the first half of the samples, None of too few."""
        counts = [count for count in self.copies if count < self.samples]
        if not counts:
            return None
        return self.copies[min(counts, key=lambda n: abs(np.log2(2 * n / self.samples)))]

    def pack(self) -> bytes:
        """For a file, without the names, which a file's place stands for."""
        repeated, digests = self.repeats.pack()
        head = {
            "samples": self.samples,
            "chain": self.chain.hex(),
            "first": self.first.hex(),
            "repeated": repeated,
            "copies": list(self.copies),
        }
        arrays: dict[str, AnyArray] = {
            "head": np.frombuffer(json.dumps(head).encode(), np.uint8),
            "digests": digests,
            "inputs": np.array([s.pack() for s in self.inputs.values()]),
        }
        for number, values in enumerate([self.values, *self.copies.values()]):
            arrays |= {f"{key}{number}": array for key, array in _packed(values).items()}
        stream = io.BytesIO()
        np.savez(stream, **arrays)  # type: ignore[arg-type]
        return stream.getvalue()

    @classmethod
    def unpack(
        cls, content: bytes, kinds: Mapping[str, Kind], inputs: Collection[str]
    ) -> "Observation":
        """What ``pack`` made.

        Raises:
            ValueError, KeyError, OSError: the content is something else.
        """
        made = cls(kinds, inputs)
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            head: dict[str, Any] = json.loads(arrays["head"].tobytes())
            made.samples = head["samples"]
            made.chain, made.first = bytes.fromhex(head["chain"]), bytes.fromhex(head["first"])
            made.repeats = Repeats.unpack(head["repeated"], arrays["digests"])
            packed = zip(made.inputs, arrays["inputs"], strict=True)
            made.inputs = {name: InputStatistics.unpack(row) for name, row in packed}
            made.values = _unpacked(arrays, 0, made.values.kinds)
            for number, count in enumerate(head["copies"]):
                made.copies[count] = _unpacked(arrays, number + 1, made.values.kinds)
        return made


def _packed(values: Values) -> dict[str, AnyArray]:
    """Ends, fields of histograms, and their counts from the first bin in use to the last."""
    ends = [values.ends[name] for name, kind in values.kinds.items() if kind != "histogram"]
    used = [values.histograms[name] for name in _with_histogram(values.kinds)]
    fields = [[float(getattr(h, name)) for name in _HISTOGRAM_FIELDS] for h in used]
    spans = [_span(histogram) for histogram in used]
    counts = [h.counts[first:last] for h, (first, last) in zip(used, spans, strict=True)]
    joined = np.concatenate([np.zeros(0, np.int64), *counts])
    small = joined.max(initial=0) <= np.iinfo(np.uint32).max
    return {
        "ends": np.array(ends, np.float64).reshape(-1, 2),
        "fields": np.array(fields, np.float64).reshape(-1, len(_HISTOGRAM_FIELDS)),
        "spans": np.array(spans, np.int64).reshape(-1, 2),
        "counts": joined.astype(np.uint32) if small else joined,
    }


def _unpacked(arrays: Any, number: int, kinds: Mapping[str, Kind]) -> Values:
    values = Values(kinds)
    names = [name for name, kind in kinds.items() if kind != "histogram"]
    for name, ends in zip(names, arrays[f"ends{number}"], strict=True):
        values.ends[name] = (float(ends[0]), float(ends[1]))
    counts = arrays[f"counts{number}"]
    rows = zip(
        _with_histogram(kinds),
        arrays[f"fields{number}"],
        arrays[f"spans{number}"],
        strict=True,
    )
    start = 0
    for name, fields, (first, last) in rows:
        histogram = Histogram()
        for field, number_of in zip(_HISTOGRAM_FIELDS, fields, strict=True):
            kind: Any = type(getattr(histogram, field))
            setattr(histogram, field, kind(number_of))
        histogram.counts[first:last] = counts[start : start + last - first]
        start += last - first
        values.histograms[name] = histogram
    if start != len(counts):
        raise ValueError("counts are missing or left over")
    return values


def _with_histogram(kinds: Mapping[str, Kind]) -> Iterable[str]:
    return [name for name, kind in kinds.items() if kind == "histogram"]


def _span(histogram: Histogram) -> tuple[int, int]:
    """First bin in use and the one behind the last; (0, 0) of none."""
    used = np.flatnonzero(histogram.counts)
    return (int(used[0]), int(used[-1]) + 1) if used.size else (0, 0)
