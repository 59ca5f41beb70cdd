"""Samples made up where there are none, and a model that keeps them like its training data.

Values behind a BatchNormalization have known mean and deviation per channel. ``restored`` gives
the model's values these statistics whatever its inputs are; the inputs are noise, with the mean
and deviation that the first of these values asks for where it is a product of the input, else
those of the model's example input, else 0 and 1. Noise for pictures is smooth, as pictures are:
its amplitudes fall with the frequency.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir

from edgecomp.calibrate.feeds import Feed
from edgecomp.graph.batch_statistics import batch_statistics
from edgecomp.graph.constants import AnyArray, constant_array, new_initializer
from edgecomp.graph.example import example_feeds
from edgecomp.graph.match import is_operator
from edgecomp.graph.run import random_feeds, run_model
from edgecomp.graph.shapes import static_shape

#: Enough for ranges: the samples are alike.
MOST_SAMPLES = 32
#: Pictures are bounded; numbers further off than this many deviations are clipped.
_REACH = 2.5
#: A channel of fewer numbers in a sample has no deviation of its own.
_LEAST_NUMBERS = 16
#: Part of a channel's variance that lies between samples, not inside them. Without any, what is
#: pooled would be the same in every sample.
_BETWEEN_SAMPLES = 0.5
_CHANNELS = (1, 3, 4)
_PRODUCTS = ("Conv", "Gemm", "MatMul")


@dataclasses.dataclass(frozen=True)
class DataFree:
    """What takes the place of a calibration set.

    Attributes:
        model: to observe instead of the model itself: the same values, restored statistics.
        samples: made up; the same in every iteration.
        facts: what the inputs' statistics come from.
    """

    model: ir.Model
    samples: "MadeUpSamples"
    facts: dict[str, object]


def data_free(model: ir.Model, count: int, seed: int = 0) -> DataFree:
    """Make up samples for a float model after its passes."""
    limits: dict[str, tuple[float, float]] = {}
    origin = "noise"
    for name, example in example_feeds(model).items():
        if example.dtype.kind == "f" and example.size > 1 and np.std(example) > 0:
            limits[name] = float(np.mean(example)), float(np.std(example))
            origin = "example input"
    asked = _asked_by_training(model, seed)
    if asked:
        limits |= asked
        origin = "batch normalization"
    other, restored_values = restored(model)
    samples = MadeUpSamples(model, limits, min(count, MOST_SAMPLES), seed)
    return DataFree(
        other, samples, {"data_free": origin, "restored_statistics": restored_values}
    )


class MadeUpSamples:
    """Seeded samples for a model's inputs.

    Floats are noise; integers are those of the model's example input, which may be indices with
    a meaning, else rows of the table that they choose from, else 0 or 1.
    """

    def __init__(
        self,
        model: ir.Model,
        statistics: Mapping[str, tuple[float, float]],
        count: int,
        seed: int,
    ) -> None:
        self._shapes = {v.name or "": static_shape(v) or () for v in model.graph.inputs}
        self._plain = random_feeds(model, seed)
        self._fixed = dict(example_feeds(model))
        self._tables = {v.name or "": _table_rows(v) for v in model.graph.inputs}
        self._statistics, self._count, self._seed = statistics, count, seed

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Feed]:
        rng = np.random.default_rng(self._seed)
        for _ in range(self._count):
            yield {name: self._input(name, rng) for name in self._shapes}

    def _input(self, name: str, rng: np.random.Generator) -> AnyArray:
        plain = self._plain[name]
        if plain.dtype.kind == "f":
            mean, deviation = self._statistics.get(name, (0.0, 1.0))
            return (mean + deviation * noise(plain.shape, rng)).astype(plain.dtype)
        if name in self._fixed:
            return np.asarray(self._fixed[name])
        if self._tables[name] > 1:
            return rng.integers(0, self._tables[name], plain.shape).astype(plain.dtype)
        if plain.dtype == np.uint8:  # pixels
            made = 127.5 + 60.0 * noise(plain.shape, rng)
            return np.clip(made, 0, 255).astype(np.uint8)
        return plain


def noise(shape: tuple[int, ...], rng: np.random.Generator) -> AnyArray:
    """Mean 0, deviation 1; smooth and bounded where the shape is that of pictures."""
    white = rng.standard_normal(shape)
    axes = _picture_axes(shape)
    if axes is None:
        return white
    rows, columns = (np.fft.fftfreq(shape[axis]) for axis in axes)
    frequency = np.hypot(rows[:, None], columns[None, :])
    frequency[0, 0] = np.inf  # no offset: it is added afterwards
    form = [1] * len(shape)
    for axis in axes:
        form[axis] = shape[axis]
    falling = (1.0 / frequency).reshape(form)
    smooth = np.fft.ifft2(np.fft.fft2(white, axes=axes) * falling, axes=axes).real
    smooth /= smooth.std(axis=axes, keepdims=True)
    return np.clip(smooth, -_REACH, _REACH)


def restored(model: ir.Model) -> tuple[ir.Model, int]:
    """A copy whose values have the statistics of training, and how many of them do."""
    copy = model.clone()
    originals = {v.name: v for node in model.graph for v in node.outputs}
    count = 0
    for node in list(copy.graph):
        for value in node.outputs:
            original = originals.get(value.name)
            known = batch_statistics(original) if original is not None else None
            shape = static_shape(value)
            if known is None or shape is None or int(np.prod(shape[2:])) < _LEAST_NUMBERS:
                continue
            if value.dtype == ir.DataType.FLOAT and len(shape) > 2:
                _restore(copy.graph, node, value, *known)
                count += 1
    return copy, count


def _restore(
    graph: ir.Graph, node: ir.Node, value: ir.Value, mean: AnyArray, deviation: AnyArray
) -> None:
    """Mean and deviation over a sample, and an offset of every channel that differs by sample.

    The offset is a sine of a multiple, which differs by channel, of the value's mean magnitude:
    as good as random, and without any state.
    """
    name, shape = value.name, static_shape(value) or ()
    rng = np.random.default_rng(len(graph))
    typical = float(np.mean(np.abs(mean) + deviation)) or 1.0
    each = (1, -1, *(1,) * (len(shape) - 2))
    share = _BETWEEN_SAMPLES
    constants = {
        "deviation": np.sqrt(1.0 - share) * deviation,
        "mean": mean,
        "phase": rng.uniform(500.0, 5000.0, len(mean)).reshape(each) / typical,
        "offset": (np.sqrt(2.0 * share) * deviation).reshape(each),
    }
    known = {
        kind: new_initializer(graph, f"{name}_{kind}", np.asarray(array, np.float32))
        for kind, array in constants.items()
    }
    readers = list(value.uses())
    inner = ir.node("InstanceNormalization", [value, known["deviation"], known["mean"]])
    size = ir.node("ReduceMean", [ir.node("Abs", [value]).outputs[0]])
    phase = ir.node("Mul", [size.outputs[0], known["phase"]])
    sine = ir.node("Sin", [phase.outputs[0]])
    offset = ir.node("Mul", [sine.outputs[0], known["offset"]])
    total = ir.node("Add", [inner.outputs[0], offset.outputs[0]])
    magnitude = size.inputs[0].producer() if size.inputs[0] is not None else None
    assert magnitude is not None
    result = total.outputs[0]
    result.type, result.shape = value.type, value.shape
    node.append([inner, magnitude, size, phase, sine, offset, total])
    for reader in readers:
        reader.node.replace_input_with(reader.idx, result)
    if value.is_graph_output():
        at = list(graph.outputs).index(value)
        graph.outputs[at] = result
    value.name, result.name = f"{name}_computed", name


def _asked_by_training(model: ir.Model, seed: int) -> dict[str, tuple[float, float]]:
    """Mean and deviation of the input by what the first product of it should give."""
    floats = [v for v in model.graph.inputs if v.dtype == ir.DataType.FLOAT]
    if len(floats) != 1 or len(model.graph.inputs) != 1:
        return {}
    (given,) = floats
    for use in given.uses():
        node = use.node
        known = batch_statistics(node.outputs[0]) if is_operator(node, *_PRODUCTS) else None
        if known is None or constant_array(node.inputs[1]) is None:
            continue
        found = _solve(model, given, node.outputs[0].name or "", known, seed)
        if found is not None:
            return {given.name or "": found}
    return {}


def _solve(
    model: ir.Model,
    given: ir.Value,
    name: str,
    known: tuple[AnyArray, AnyArray],
    seed: int,
) -> tuple[float, float] | None:
    """The product is linear: three runs tell what it gives of any mean and deviation."""
    shape = static_shape(given) or ()
    feeds = (np.zeros(shape), np.ones(shape), noise(shape, np.random.default_rng(seed)))
    results = [
        run_model(model, {given.name or "": feed.astype(np.float32)}, [name])[name]
        for feed in feeds
    ]
    axes = (0, *range(2, results[0].ndim))
    still, ones = (np.asarray(r, np.float64).mean(axes) for r in results[:2])
    spread = np.asarray(results[2], np.float64).std(axes)
    slope = ones - still
    wanted_mean, wanted = (np.asarray(part, np.float64) for part in known)
    useful = (spread > 1e-6) & (wanted > 1e-6)
    if not useful.any():
        return None
    deviation = float(np.exp(np.median(np.log(wanted[useful] / spread[useful]))))
    weight = 1.0 / np.maximum(wanted, 1e-6) ** 2  # an error counts in parts of the deviation
    mean = float((weight * slope * (wanted_mean - still)).sum() / (weight * slope**2).sum())
    return (mean, deviation) if np.isfinite(mean) and np.isfinite(deviation) else None


def _picture_axes(shape: tuple[int, ...]) -> tuple[int, int] | None:
    if len(shape) == 4 and min(shape[2:]) > 4 and shape[1] in _CHANNELS:
        return 2, 3
    if len(shape) == 4 and min(shape[1:3]) > 4 and shape[3] in _CHANNELS:
        return 1, 2
    return None


def _table_rows(value: ir.Value) -> int:
    """Of the table that an input chooses rows from, 0 where it chooses none."""
    if value.dtype is None or not value.dtype.is_integer():
        return 0
    for use in value.uses():
        if is_operator(use.node, "Gather") and use.idx == 1:
            axis = use.node.attributes.get_int("axis", 0)
            table = use.node.inputs[0]
            shape = static_shape(table) if table is not None else None
            if shape:
                return shape[axis]
    return 0
