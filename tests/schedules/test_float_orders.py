"""In which order float rows are added up: what docs/numerics.md says, bit by bit."""

import numpy as np
import pytest
from helpers.gpu import TARGETS
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, ARMV7, AVX2, AVX512

from edgecomp.plan.operations import Operation
from edgecomp.plan.reductions import LayerNorm
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu import layer_norm as of_processor
from edgecomp.schedules.gpu import layer_norm as of_gpu

ROWS, SIZE = 32, 384
EPSILON = np.float32(1e-5)


def halved(vectors):
    """Lanes, the upper half added to the lower one until one is left."""
    while vectors.shape[-1] > 1:
        half = vectors.shape[-1] // 2
        vectors = vectors[..., :half] + vectors[..., half:]
    return vectors[..., 0]


def fused(a, b, c):
    """``a * b + c``, rounded once: a product of two float32 is exact in float64."""
    return (a.astype(np.float64) * b + c).astype(np.float32)


def apart(a, b, c):
    return a * b + c


def sum_of_processor(rows, lanes, add):
    """Four vectors take turns, then are added one after the other, then their lanes."""
    vectors = rows.reshape(ROWS, -1, 4, lanes)
    totals = np.zeros((ROWS, 4, lanes), np.float32)
    for turn in range(vectors.shape[1]):
        totals = add(vectors[:, turn], totals)
    return halved(((totals[:, 0] + totals[:, 1]) + totals[:, 2]) + totals[:, 3])


def sum_of_gpu(rows, items, add):
    """Each work item has every n-th vector of four, adds up its lanes, then all are added."""
    vectors = rows.reshape(ROWS, -1, 4)
    totals = np.zeros((ROWS, items, 4), np.float32)
    for start in range(0, vectors.shape[1], items):
        part = vectors[:, start : start + items]
        own = totals[:, : part.shape[1]]
        totals[:, : part.shape[1]] = add(part, own)
    return halved((totals[..., 0] + totals[..., 1]) + (totals[..., 2] + totals[..., 3]))


def normalised(x, total, multiply_add):
    """The rest of a layer normalisation with scale 1 and bias 0."""
    share = np.float32(1 / SIZE)
    moved = x - (total(x, lambda a, b: a + b) * share)[:, None]
    squares = total(moved, lambda a, b: multiply_add(a, a, b))
    variance = multiply_add(squares, share, EPSILON)
    return moved * (np.float32(1) / np.sqrt(variance))[:, None]


def wanted(target, x):
    if target.gpu is None:
        lanes = target.lanes(32)
        return normalised(x, lambda rows, add: sum_of_processor(rows, lanes, add), fused)
    items = min(target.gpu.group_items, 64)  # 96 vectors: the power of two below
    return normalised(x, lambda rows, add: sum_of_gpu(rows, items, add), apart)


@pytest.mark.parametrize(
    "target",
    [AVX512, AVX2, A53, ARMV7, TARGETS["opencl"], TARGETS["cuda"]],
    ids=lambda target: target.name,
)
def test_layer_norm(target, rng):
    x = rng.standard_normal((ROWS, SIZE)).astype(np.float32)
    given, parameters = Value("x", x.shape, "float32"), []
    for name, number in (("scale", 1.0), ("bias", 0.0)):
        array = np.full(SIZE, number, np.float32)
        parameters.append(Value(name, (SIZE,), "float32", constant=array))
    output = Value("y", x.shape, "float32")
    kind = LayerNorm(axis=-1, epsilon=float(EPSILON))
    operation = Operation(kind, [given, *parameters], [output])
    schedule = of_processor if target.gpu is None else of_gpu
    calls = schedule.emit(operation, target)
    found = run_calls(calls, target, {given: fill(given, x)})[output]
    np.testing.assert_array_equal(read(output, found), wanted(target, x))
