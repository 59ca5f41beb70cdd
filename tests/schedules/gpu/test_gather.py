"""Gather, GatherElements and GatherND on GPUs."""

import itertools

import numpy as np
import pytest
from helpers.gpu import compute, current_target
from helpers.kernels import run_calls

from edgecomp.plan.movement import Gather, GatherParts
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import Size, Symbol, evaluate
from edgecomp.plan.values import Value
from edgecomp.schedules.gpu import gather
from edgecomp.schedules.gpu.family import gpu_names, sized_schedules

BATCH, LENGTH, PLACES = Symbol("b", 1, 4), Symbol("s", 1, 30), Symbol("p", 1, 20)
B, S, P = map(Size.of, (BATCH, LENGTH, PLACES))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("dtype", "integer"), [("float32", "int64"), ("uint8", "int32")])
def test_gather(dtype, integer, axis, rng):
    x = rng.integers(0, 200, (5, 6, 8)).astype(dtype)
    indices = rng.integers(-x.shape[axis], x.shape[axis], (2, 3)).astype(integer)
    want = np.take(x, indices, axis=axis)
    values = [Value("x", x.shape, dtype), Value("i", indices.shape, integer)]
    operation = Operation(Gather(axis), values, [Value("y", want.shape, dtype)])
    np.testing.assert_array_equal(compute(gather, operation, [x, indices]), want)


def test_an_index_outside_takes_the_nearest_end(rng):
    x = rng.standard_normal((5, 3)).astype(np.float32)
    indices = np.array([2**40, -(2**40), 5, -6])
    values = [Value("x", x.shape, "float32"), Value("i", indices.shape, "int64")]
    operation = Operation(Gather(0), values, [Value("y", (4, 3), "float32")])
    np.testing.assert_array_equal(compute(gather, operation, [x, indices]), x[[4, 0, 4, 0]])


def parts_of(x, indices, batch):
    """Part by part; an index outside takes the nearest end."""
    depth = indices.shape[-1]
    y = np.empty((*indices.shape[:-1], *x.shape[batch + depth :]), x.dtype)
    for place in itertools.product(*map(range, indices.shape[:-1])):
        bounds = zip(indices[place], x.shape[batch : batch + depth], strict=True)
        point = tuple(min(max(int(index), -size), size - 1) for index, size in bounds)
        y[place] = x[place[:batch]][point]
    return y


@pytest.mark.parametrize(
    ("shape", "places", "batch", "dtype", "integer"),
    [
        ((7, 5, 12), (3, 2), 0, "float32", "int32"),
        ((2, 3, 4, 9), (2, 5, 1), 1, "uint8", "int64"),
        ((3, 4, 6), (3, 4, 7, 1), 2, "float32", "int64"),  # elements of rows
        ((5, 6), (4, 2), 0, "int64", "int64"),
    ],
)
def test_parts(shape, places, batch, dtype, integer, rng):
    x = rng.integers(0, 200, shape).astype(dtype)
    indices = rng.integers(-4, 8, places).astype(integer)
    want = parts_of(x, indices, batch)
    values = [Value("x", shape, dtype), Value("i", places, integer)]
    operation = Operation(GatherParts(batch), values, [Value("y", want.shape, dtype)])
    np.testing.assert_array_equal(compute(gather, operation, [x, indices]), want)


@pytest.mark.parametrize(
    ("kind", "shape", "places", "dtype", "integer"),
    [
        (Gather(0), (S, 12), (B, P), "float32", "int64"),
        (Gather(1), (B, S, 5), (3,), "uint8", "int32"),
        (Gather(1), (3, 7, S), (P,), "float32", "int64"),
        (GatherParts(2), (B, 3, S), (B, 3, P, 1), "float32", "int64"),
        (GatherParts(1), (B, S, P, 4), (B, 6, 2), "int64", "int32"),
        (GatherParts(0), (S, 8), (P, B, 1), "uint8", "int64"),
    ],
)
def test_dynamic_sizes(kind, shape, places, dtype, integer, rng):
    """Indices inside and outside; nothing is written behind the last part."""
    target = current_target()
    if not sized_schedules(target.gpu.api):
        pytest.skip("apps start kernels of fixed sizes")
    values = Value("x", shape, dtype), Value("i", places, integer)
    if isinstance(kind, Gather):
        result = (*shape[: kind.axis], *places, *shape[kind.axis + 1 :])
    else:
        result = (*places[:-1], *shape[kind.batch_dims + places[-1] :])
    y = Value("y", result, dtype)
    operation = Operation(kind, list(values), [y])
    names = gpu_names(gather.NAME)
    (schedule,) = (s for s in sized_schedules(target.gpu.api) if s.NAME in names)
    assert schedule.match(operation, target) == ""
    calls = schedule.emit(operation, target)
    for numbers in ((4, 30, 20), (1, 1, 1), (3, 29, 2), (2, 2, 19)):
        sizes = dict(zip((BATCH, LENGTH, PLACES), numbers, strict=True))
        extents = [tuple(evaluate(e, sizes) for e in each) for each in (shape, places, result)]
        x = rng.integers(0, 200, extents[0]).astype(dtype)
        indices = rng.integers(-35, 35, extents[1]).astype(integer)
        if integer == "int64":
            indices.flat[0] = rng.choice([2**40, -(2**40)])
        if isinstance(kind, Gather):
            size = x.shape[kind.axis]
            want = np.take(x, np.clip(indices, -size, size - 1), axis=kind.axis)
        else:
            want = parts_of(x, indices, kind.batch_dims)
        given = dict(zip(values, (x.reshape(-1), indices.reshape(-1)), strict=True))
        found = run_calls(calls, target, given, sizes=sizes)[y]
        np.testing.assert_array_equal(found.reshape(extents[2]), want)
