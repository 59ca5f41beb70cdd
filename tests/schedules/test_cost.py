"""Prices of operations: every schedule has a model, and the models order what is obvious."""

import numpy as np
import pytest
from helpers.targets import A53, A76, ALL, ARMV7, AVX2, AVX512

from edgecomp.plan.elementwise import Elementwise, Step
from edgecomp.plan.finish import Requantize
from edgecomp.plan.movement import Reinterpret
from edgecomp.plan.operations import Fallback, Operation
from edgecomp.plan.products import Convolution, PackedMatrixMultiply
from edgecomp.plan.quantization import Dequantize, Quantize
from edgecomp.plan.values import Halo, Order, Quantization, Value
from edgecomp.schedules import cost
from edgecomp.schedules.cost import operation_cost as seconds
from edgecomp.schedules.cost import streamed_part
from edgecomp.schedules.cpu.family import SCHEDULES
from edgecomp.schedules.cpu.packed_costs import packed_product_cycles

UNIT = Quantization(0.1, 0)


def image(shape, dtype="float32", *, halo=0):
    quantization = None if dtype == "float32" else UNIT
    edge = Halo(halo, halo, halo, halo)
    return Value("x", shape, dtype, Order.NHWC, edge, quantization)


def convolution(target, channels, outputs, size, *, window=1, groups=1, integer=False):
    """A convolution of stride 1 that keeps the image's size."""
    dtype = target.activation_dtype if integer else "float32"
    pad = window // 2
    shape = (outputs, channels // groups, window, window)
    weight = Value("w", shape, "int8" if integer else "float32")
    weight.constant = np.ones(shape, weight.dtype)
    bias = Value("b", (outputs,), "int32" if integer else "float32")
    bias.constant = np.zeros(outputs, bias.dtype)
    limits = np.iinfo(dtype) if integer else None
    kind = Convolution(
        pads=(pad,) * 4,
        groups=groups,
        finish=(
            Requantize(np.ones(outputs, np.float32), 0, int(limits.min), int(limits.max))
            if limits
            else None
        ),
    )
    x = image((1, channels, size, size), dtype, halo=pad)
    return Operation(kind, [x, weight, bias], [image((1, outputs, size, size), dtype)])


def elementwise(*operators, shape=(1, 64, 32, 32)):
    steps = tuple(Step(name, (k,), "float32") for k, name in enumerate(operators))
    return Operation(Elementwise(steps), [image(shape)], [image(shape)])


def test_every_schedule_has_a_model():
    modelled = {*cost._WITH_WEIGHTS, *cost._MODELS}
    assert modelled == {schedule.NAME for schedule in SCHEDULES}


@pytest.mark.parametrize("target", ALL, ids=lambda t: t.name)
@pytest.mark.parametrize("integer", [False, True], ids=["f32", "int8"])
@pytest.mark.parametrize(
    "shape",
    [
        {"channels": 64, "outputs": 64},
        {"channels": 64, "outputs": 64, "window": 3},
        {"channels": 64, "outputs": 64, "window": 3, "groups": 4},
        {"channels": 64, "outputs": 64, "window": 3, "groups": 64},
    ],
    ids=["1x1", "3x3", "grouped", "depthwise"],
)
def test_more_pixels_cost_more(target, integer, shape):
    small = convolution(target, size=7, integer=integer, **shape)
    large = convolution(target, size=28, integer=integer, **shape)
    assert 0 < seconds(small, target) < seconds(large, target) < 1


@pytest.mark.parametrize("target", [AVX512, A76], ids=lambda t: t.name)
def test_a_dot_product_instruction_pays(target):
    for shape, part in (({"window": 1}, 0.5), ({"window": 3, "groups": 128}, 1)):
        f32 = convolution(target, 128, 128, 14, **shape)
        int8 = convolution(target, 128, 128, 14, integer=True, **shape)
        assert seconds(int8, target) < part * seconds(f32, target)


@pytest.mark.parametrize("target", [A53, ARMV7], ids=lambda t: t.name)
def test_winograd_beats_int8_without_one(target):
    f32, int8 = (
        convolution(target, 32, 32, 48, window=3, integer=integer) for integer in (False, True)
    )
    best = seconds(f32, target)
    assert best < seconds(int8, target)
    assert seconds(f32, target, without=("winograd_f32_nhwc",)) > best


def test_functions_cost_more_than_sums():
    assert seconds(elementwise("Tanh"), AVX2) > seconds(elementwise("Neg"), AVX2)
    chain = elementwise("Neg", "Abs")
    apart = 2 * seconds(elementwise("Neg"), AVX2)
    assert seconds(chain, AVX2) < apart


@pytest.mark.parametrize("target", ALL, ids=lambda t: t.name)
def test_conversions(target):
    real, stored = image((1, 16, 20, 20)), image((1, 16, 20, 20), target.activation_dtype)
    to_stored = seconds(Operation(Quantize(), [real], [stored]), target)
    to_real = seconds(Operation(Dequantize(), [stored], [real]), target)
    rows = Value("rows", (1, 16, 20, 20), "float32")
    from_rows = seconds(Operation(Quantize(), [rows], [stored]), target)
    assert 0 < to_real <= to_stored < from_rows


def test_weights_of_a_small_model_stay_in_the_cache():
    assert streamed_part(AVX512.core.l2_bytes // 2, AVX512) == 0
    assert 0 < streamed_part(2 * AVX512.core.l2_bytes, AVX512) < 1
    assert streamed_part(10 * AVX512.core.l2_bytes, AVX512) == 1
    layer = convolution(AVX512, 512, 512, 1)
    assert seconds(layer, AVX512, streamed=1.0) > 2 * seconds(layer, AVX512, streamed=0.0)


def test_what_nothing_is_known_of_is_slow():
    value = Value("x", (4, 100), "float32")
    unknown = Operation(Fallback(b"", "Det"), [value], [Value("y", (4, 100), "float32")])
    known = elementwise("Neg", shape=(1, 1, 20, 20))
    assert seconds(unknown, AVX2) > seconds(known, AVX2)
    view = Operation(Reinterpret(), [value], [Value("y", (400,), "float32")])
    assert seconds(view, AVX2) == 0


def test_fewer_bits_are_read_sooner():
    def cycles(bits, rows):
        numbers = Value("w", (4096, 1024), "uint8")
        x, y = Value("x", (rows, 4096), "float32"), Value("y", (rows, 1024), "float32")
        kind = PackedMatrixMultiply(bits=bits, block=32)
        return packed_product_cycles(Operation(kind, [x, numbers], [y]), AVX512, streamed=1.0)

    assert cycles(2, 1) < cycles(4, 1) < cycles(8, 1)
    assert cycles(4, 64) > 8 * cycles(4, 1)
