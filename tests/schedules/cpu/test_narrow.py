import numpy as np
import pytest
from helpers.dense import requantize
from helpers.kernels import run_calls
from helpers.targets import A53, A76, ALL, ARMV7, AVX2, AVX512, reason_not_runnable
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecomp.graph.integer import add_weights
from edgecomp.plan.finish import IntegerAdd, Requantize
from edgecomp.plan.values import Value
from edgecomp.schedules.builder import KernelBuilder, load, ramp
from edgecomp.schedules.cpu.narrow import Accumulators, narrow, pick, piece_order
from edgecomp.schedules.cpu.reach import Reach, greatest_x, reach_of, start_of
from edgecomp.schedules.cpu.residual import Addition, narrow_added
from edgecomp.schedules.schedule import Constant, KernelCall

GROUPS = 64
#: (greatest accumulator, multiplier): exact in bits; beyond 2^22 but saturated there; beyond
#: 16 bits once scaled; neither exact nor saturated.
REACHES = [(1 << 21, 1e-3), (1 << 26, 4e-4), (1 << 21, 0.2), (1 << 24, 1e-5)]
#: Zero point less the least value, bounds above it: whole range, Relu, a narrow clip.
BOUNDS = [(100, 0, 255), (0, 0, 255), (0, 0, 200), (7, 7, 90), (255, 0, 255), (101, 2, 99)]


def accumulators(farthest, multiplier, rng):
    """[GROUPS, channels]: random ones, the farthest, and those next to ties of the rounding."""
    channels = len(multiplier)
    found = rng.integers(-farthest, farthest + 1, (GROUPS, channels))
    found[: GROUPS // 2] = rng.integers(-300, 300, (GROUPS // 2, channels)) / multiplier
    ties = rng.integers(-256, 256, (GROUPS // 4, channels)) + 0.5
    found[: GROUPS // 4] = np.rint(ties / multiplier)
    found[-1], found[-2] = farthest, -farthest
    return np.clip(found, -farthest, farthest)


def channels_of(target):
    return target.lanes(8) if target.core.isa == "x86_64" else 16


def finish_of(bounds, multiplier, dtype):
    least = np.iinfo(dtype).min
    zero, low, high = (int(value) + least for value in bounds)
    return Requantize(multiplier, zero, low, high)


def build(target, dtype, reach, residual, emit):
    """A kernel that narrows one vector of bytes per work item."""
    builder, channels = KernelBuilder(target.core.isa), channels_of(target)
    sums = builder.pointer("sums", "int32", GROUPS * channels)
    scales = builder.pointer("scales", "float32", channels)
    other = builder.pointer("other", dtype, GROUPS * channels) if residual else None
    out = builder.pointer("out", dtype, GROUPS * channels)
    lanes = piece_order(target, channels).shape[1]
    with builder.loop("item", builder.lo, builder.hi) as item:
        first = item * channels
        totals = [load(sums, first + at, lanes) for at in range(0, channels, lanes)]
        multipliers = [load(scales, at, lanes) for at in range(0, channels, lanes)]
        extra = [load(other, first, channels)] if residual else []
        result = emit(builder, totals, multipliers, *extra)
        builder.store(out, ramp(first, channels), result)
    return builder.finish(f"narrow_{reach.offset}")


def check(target, dtype, farthest, scale, bounds, *, add=None, limited=True):
    rng = np.random.default_rng(5)
    channels = channels_of(target)
    multiplier = (rng.uniform(0.5, 1.5, channels) * scale).astype(np.float32)
    acc = accumulators(farthest, multiplier, rng)
    reach = reach_of(target, np.full(channels, farthest), multiplier)
    if not limited:
        reach = Reach(reach.magnitude)
    finish = finish_of(bounds, multiplier, dtype)
    residual = rng.choice(np.uint8([0, 1, 127, 128, 254, 255]), acc.shape)
    residual[::2] = rng.integers(0, 256, residual[::2].shape)
    residual = residual.view(dtype)
    if add is None:
        expected = requantize(acc, finish)

        def emit(builder, totals, multipliers):
            return narrow(
                builder, target, Accumulators(totals, multipliers, reach), finish, dtype
            )

    else:
        total = (requantize(acc, finish) - add.zero_a) * add.weight_a
        total = total + (residual.astype(np.int64) - add.zero_b) * add.weight_b
        expected = requantize(total, add.requantize)

        def emit(builder, totals, multipliers, other):
            sums, others = Accumulators(totals, multipliers, reach), [other]
            if target.core.isa != "aarch64":
                others = [pick(others, indices) for indices in piece_order(target, channels)]
            return narrow_added(builder, target, Addition(sums, finish, others, add), dtype)

    order = piece_order(target, channels)
    sums = start_of(acc, reach)[:, order.reshape(-1)]
    size = (GROUPS * channels,)
    values = [Value("sums", size, "int32"), Constant("scales", multiplier[order].reshape(-1))]
    buffers = {values[0]: sums.reshape(-1)}
    if add is not None:
        values.append(Value("other", size, dtype))
        buffers[values[-1]] = residual.reshape(-1)
    out = Value("out", size, dtype)
    kernel = build(target, dtype, reach, add is not None, emit)
    calls = [KernelCall(kernel, (*values, out), GROUPS)]
    found = run_calls(calls, target, buffers)[out]
    assert (found.reshape(acc.shape) == expected).all()
    return reach


@pytest.mark.parametrize("target", ALL, ids=lambda t: t.name)
@pytest.mark.parametrize(("farthest", "scale"), REACHES)
def test_requantized_bits(farthest, scale, target):
    dtype = target.activation_dtype
    for bounds in BOUNDS:
        check(target, dtype, farthest, scale, bounds)


@pytest.mark.parametrize("target", [A53, A76, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_either_dtype_without_an_offset(dtype, target):
    for bounds in BOUNDS[:2]:
        check(target, dtype, *REACHES[0], bounds, limited=False)


@pytest.mark.parametrize("target", ALL, ids=lambda t: t.name)
def test_added_bits(target):
    dtype = target.activation_dtype
    least = np.iinfo(dtype).min
    for zero_a, zero_b in ((100, 37), (0, 255)):
        last = Requantize(np.float32([2.0**-15]), least + 11, least, least + 255)
        add = IntegerAdd(23171, -17001, least + zero_a, least + zero_b, last)
        isa = target.core.isa
        limited = isa == "aarch64"
        check(target, dtype, *REACHES[1], (zero_a, 0, 255), add=add, limited=limited)


def addition(dtype, ratios, zeros, bounds, *, subtract):
    """As lowering makes it of both scales over the result's, zero points above the least."""
    weights = add_weights(*(np.float32([ratio]) for ratio in ratios), 1, subtract=subtract)
    least = np.iinfo(dtype).min
    last = finish_of(bounds, weights.multiplier, dtype)
    return IntegerAdd(weights.weight_a, weights.weight_b, *(least + z for z in zeros), last)


@pytest.mark.parametrize("target", ALL, ids=lambda t: t.name)
@pytest.mark.parametrize(
    ("ratios", "zeros"),
    [
        ((2.0**100, 2.0**100), (0, 255)),
        ((2.0**100, 2.0**-100), (255, 0)),
        ((2.0**-120, 2.0**-126), (0, 0)),
        ((0.5, 0.5), (128, 127)),
        ((256.0, 255.5), (255, 255)),
    ],
)
def test_added_bits_of_extreme_scales(ratios, zeros, target):
    """Sums near 2^24, ties, sums that vanish, and bounds other than the dtype's."""
    dtype = target.activation_dtype
    limited = target.core.isa == "aarch64"
    # The second addition takes another zero point than the first requantization's.
    for zero, bounds, subtract in ((zeros[0], (0, 0, 255), False), (31, (200, 7, 220), True)):
        add = addition(dtype, ratios, zeros, bounds, subtract=subtract)
        check(target, dtype, *REACHES[0], (zero, 0, 255), add=add, limited=limited)


SCALES = st.tuples(st.floats(-126, 100), st.booleans()).map(
    lambda drawn: 2.0 ** (round(drawn[0]) if drawn[1] else drawn[0])
)
ZEROS = st.integers(0, 255) | st.sampled_from([0, 255])


@settings(max_examples=25)
@given(
    scale=SCALES,
    apart=st.floats(-30, 30),
    zeros=st.tuples(ZEROS, ZEROS, ZEROS, ZEROS),
    limits=st.tuples(ZEROS, ZEROS),
    subtract=st.booleans(),
    reach=st.sampled_from(REACHES),
    other=st.booleans(),
)
def test_added_bits_of_any_scales(scale, apart, zeros, limits, subtract, reach, other):
    target = AVX2 if other or reason_not_runnable(AVX512) else AVX512
    ratio = 2.0 ** min(100.0, max(-126.0, np.log2(scale) + apart))
    dtype = "int8" if other else "uint8"
    # The convolution's zero point may be another than the addition takes.
    zero, *operands, last = zeros
    low, high = sorted(limits)
    add = addition(dtype, (scale, ratio), operands, (last, low, high), subtract=subtract)
    check(target, dtype, *reach, (zero, 0, 255), add=add)


@pytest.mark.parametrize(
    ("case", "offset"), list(zip(REACHES, [True, True, True, False], strict=True))
)
def test_offset_where_bits_suffice(case, offset):
    farthest, scale = case
    reach = reach_of(A76, np.array([farthest]), np.float32([scale]))
    assert bool(reach.offset) == offset
    assert not reach_of(ARMV7, np.array([farthest]), np.float32([scale])).offset


@given(
    st.integers(0, 1 << 30), st.floats(2.0**-30, 4, width=32), st.integers(0, 255), st.data()
)
def test_bits_as_float_give_the_same_values(farthest, multiplier, zero, data):
    """The kernels' arithmetic in numpy, where ``reach_of`` allows it."""
    scale = np.float32(multiplier)
    reach = reach_of(A76, np.array([farthest]), scale)
    if not reach.offset:
        return
    acc = np.array([data.draw(st.integers(-farthest, farthest)), farthest, -farthest])
    finish = Requantize(scale, zero, 0, 255)
    value = start_of(acc, reach).view(np.float32) - np.float32(1.5 * 2**23)
    scaled = value * scale
    assert np.abs(scaled).max() <= reach.magnitude * (1 + 1e-6)
    found = np.rint(np.clip(scaled, np.float32(-zero), np.float32(255 - zero))) + zero
    assert (found == requantize(acc[None], finish)[0]).all()


def test_greatest_x():
    assert (greatest_x("int8"), greatest_x("uint8")) == (128, 255)
