"""Words of signs, against numpy's comparisons: every comparison, NaN and both zeros, odd tails."""

import numpy as np
import pytest
from helpers.kernels import fill, read, run_calls
from helpers.targets import A76, ARMV7, AVX2, AVX512

from edgecomp.device.load import load_target
from edgecomp.plan.operations import Operation
from edgecomp.plan.quantization import SIGN_BITS, PackSigns
from edgecomp.plan.values import Halo, Order, Value
from edgecomp.schedules.cpu import pack_signs

TARGETS = [load_target("host"), AVX2, AVX512, A76, ARMV7]
HOLDS = {
    "GreaterOrEqual": np.greater_equal,
    "Greater": np.greater,
    "LessOrEqual": np.less_equal,
    "Less": np.less,
}
TESTS = [("Sign", 1), *((test, first) for test in HOLDS for first in (1, -1))]
SPECIAL = np.array([np.nan, -np.nan, 0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45], np.float32)


def numbers(rng, *shape):
    """Every special number in every lane of a vector, on average."""
    array = rng.standard_normal(shape).astype(np.float32)
    special = rng.random(shape) < 0.5
    array[special] = rng.choice(SPECIAL, special.sum())
    return array


def words(array, test, first):
    """Pairs of words along the last axis: negative signs, and those that count."""
    if test == "Sign":
        negative, counting = array < 0, (array < 0) | (array > 0)
    else:
        negative = np.where(HOLDS[test](array, 0), first, -first) < 0
        counting = np.ones(array.shape, bool)
    padding = [(0, 0)] * (array.ndim - 1) + [(0, -array.shape[-1] % SIGN_BITS)]
    pairs = [
        np.packbits(np.pad(b, padding), axis=-1, bitorder="little")
        for b in (negative, counting)
    ]
    found = np.stack([np.ascontiguousarray(each).view("<i4") for each in pairs], axis=-1)
    return found.reshape(*array.shape[:-1], -1)


def as_seen_by(target, array):
    """NEON of armv7 takes subnormal numbers for zero."""
    if target.core.isa != "armv7":
        return array
    return np.where(np.abs(array) < np.finfo(np.float32).tiny, np.float32(0), array)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize(("test", "first"), TESTS)
def test_rows(test, first, target, rng):
    array = numbers(rng, 7, 83)
    wanted = words(as_seen_by(target, array), test, first)
    x, y = Value("x", array.shape, "float32"), Value("y", wanted.shape, "int32")
    calls = pack_signs.emit(Operation(PackSigns(test, first), [x], [y]), target)
    found = run_calls(calls, target, {x: array.reshape(-1)}, 2)[y]
    np.testing.assert_array_equal(found.reshape(wanted.shape), wanted)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_images(target, rng):
    array = numbers(rng, 2, 3, 5, 45)
    wanted = words(as_seen_by(target, array), "Less", 1)
    channels_first = (0, 3, 1, 2)
    shapes = [np.transpose(each, channels_first).shape for each in (array, wanted)]
    x = Value("x", shapes[0], "float32", order=Order.NHWC, halo=Halo(1, 1, 0, 2))
    y = Value("y", shapes[1], "int32", order=Order.NHWC, halo=Halo(0, 2, 1, 1))
    calls = pack_signs.emit(Operation(PackSigns("Less", 1), [x], [y]), target)
    given = fill(x, np.transpose(array, channels_first))
    found = read(y, run_calls(calls, target, {x: given, y: fill(y, 0)}, 3)[y])
    np.testing.assert_array_equal(found, np.transpose(wanted, channels_first))
