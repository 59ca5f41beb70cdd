"""Kernels that read images: weights of convolutions and products, and activations."""

import dataclasses

import numpy as np
import pytest
from helpers import packed
from helpers.dense import RELU, Conv, halo_untouched, make_float, make_integer, run, store_as
from helpers.dense_cases import SHAPES
from helpers.kernels import fill, read, run_calls

from edgecomp.device.load import list_targets, load_target
from edgecomp.device.target import GpuTextures
from edgecomp.lower.device_source import opencl_source
from edgecomp.plan.plan import ImageArgument
from edgecomp.plan.sizes import Size, Symbol
from edgecomp.plan.values import Halo, Order, Value
from edgecomp.schedules.gpu import (
    convolution,
    depthwise,
    dot_product,
    packed_product,
    shared_product,
    winograd,
)
from edgecomp.schedules.gpu.inputs import image_width
from edgecomp.schedules.schedule import Constant

FLOAT_TOLERANCE = 2e-5  # of the largest magnitude: docs/numerics.md
PLAIN = load_target("generic-opencl")


def with_textures(target, width=16384, height=16384, row_texels=None):
    """The target with images of its weights, and of activations where rows are so long."""
    textures = GpuTextures(width=width, height=height, row_texels=row_texels)
    return dataclasses.replace(target, gpu=dataclasses.replace(target.gpu, textures=textures))


TARGET = with_textures(PLAIN)


def check_images(calls):
    """The weights of one of the calls are an image, which has all their bytes."""
    (image,) = [image for call in calls for image in call.launch.images if image.argument == 1]
    (weights,) = {call.arguments[1] for call in calls if image in call.launch.images}
    assert isinstance(weights, Constant)
    assert weights.array.size == image.elements


def check(
    schedule, operation, buffers, target=TARGET, tolerance=FLOAT_TOLERANCE, expected=None
):
    assert schedule.match(operation, target) == ""
    check_images(schedule.emit(operation, target))
    found, flat = run(schedule, operation, buffers, target)
    if found.dtype.kind == "f" or expected.dtype.kind == "f":
        limit = tolerance * max(1, np.abs(expected).max())
        assert np.abs(found.astype(np.float64) - expected).max() <= limit
    else:
        np.testing.assert_array_equal(found, expected)
    assert halo_untouched(operation.output, flat)


#: Tails of K and of columns, windows, strides, groups; see helpers/dense_cases.py.
CASES = [case for case in SHAPES if not (case.g == case.c == case.m)]


@pytest.mark.parametrize("case", CASES[::2], ids=str)
def test_floats(case):
    case = dataclasses.replace(case, residual=True, act=RELU)
    operation, buffers, expected = make_float(case, np.random.default_rng(1))
    check(convolution, operation, buffers, expected=expected)


@pytest.mark.parametrize("case", CASES[1::2], ids=str)
def test_integers(case):
    case = dataclasses.replace(case, finish="requantize")
    operation, buffers, expected = make_integer(case, TARGET, np.random.default_rng(3))
    check(convolution, operation, buffers, expected=expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("case", [CASES[1], Conv(c=39, m=9, h=3, w=5, k=(3, 1))], ids=str)
def test_weights_of_16_bits(case, dtype):
    operation, buffers, expected = make_float(case, np.random.default_rng(5), dtype)
    store_as(dtype, operation, buffers)
    check(convolution, operation, buffers, expected=expected, tolerance=1e-2)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize(
    "case",
    [
        Conv(c=6, m=21, h=5, w=7, k=(3, 3), p=(1, 1, 1, 1), finish="add", extreme=True,
             y_halo=Halo(1, 2, 0, 1)),
        Conv(c=32, m=10, h=9, w=3, g=2, s=(2, 1), finish="requantize"),
    ],
    ids=str,
)  # fmt: skip
def test_words_of_integers(case, dtype):
    gpu = dataclasses.replace(TARGET.gpu, features={"int8_dot"})
    target = dataclasses.replace(TARGET, gpu=gpu, activation_dtype=dtype)
    operation, buffers, expected = make_integer(case, target, np.random.default_rng(3))
    check(dot_product, operation, buffers, target, expected=expected)


@pytest.mark.parametrize("finish", ["float", "requantize"])
@pytest.mark.parametrize(
    "case",
    [
        Conv(c=30, m=30, g=30, h=7, w=9, k=(3, 3), p=(1, 1, 1, 1)),
        Conv(c=8, m=8, g=8, h=9, w=7, k=(5, 7), p=(2, 3, 2, 3), s=(2, 2), residual=True),
        Conv(c=1, m=1, g=1, h=4, w=4, k=(2, 2), n=2),
    ],
    ids=str,
)
def test_depthwise(case, finish):
    case = dataclasses.replace(case, finish=finish)
    if finish == "float":
        operation, buffers, expected = make_float(case, np.random.default_rng(2))
    else:
        case = dataclasses.replace(case, residual=False)
        operation, buffers, expected = make_integer(case, TARGET, np.random.default_rng(2))
    check(depthwise, operation, buffers, expected=expected)


@pytest.mark.parametrize(
    "case",
    [
        Conv(c=16, m=37, h=9, w=11, k=(3, 3), p=(1, 1, 1, 1), residual=True, act=RELU),
        Conv(c=24, m=140, h=9, w=11),
        Conv(c=32, m=80, h=10, w=9, g=2),
    ],
    ids=str,
)
def test_through_local_memory(case):
    operation, buffers, expected = make_float(case, np.random.default_rng(1))
    calls = shared_product.emit(operation, TARGET)
    check_images(calls)
    found = read(operation.output, run_calls(calls, TARGET, buffers)[operation.output])
    assert np.abs(found - expected).max() <= FLOAT_TOLERANCE * max(1, np.abs(expected).max())


@pytest.mark.parametrize("outputs", [2, 4])
def test_winograd(outputs):
    case = Conv(c=10, m=13, h=9, w=10, k=(3, 3), p=(1, 1, 1, 1), residual=True)
    operation, buffers, expected = make_float(case, np.random.default_rng(1))
    calls = winograd.emit_with(operation, TARGET, outputs)
    check_images(calls)
    found = read(operation.output, run_calls(calls, TARGET, buffers)[operation.output])
    assert np.abs(found - expected).max() <= 1e-4 * max(1, np.abs(expected).max())


@pytest.mark.parametrize(
    ("rows", "depth", "columns", "bits", "block"),
    [(1, 640, 24, 4, 32), (2, 77, 21, 3, 77), (40, 256, 12, 8, 128), (5, 96, 33, 1, 96)],
)
def test_packed_weights(rows, depth, columns, bits, block):
    operation = packed.product_of(rows, depth, columns, bits, block, same_zero=bits == 1)
    calls = packed_product.emit(operation, TARGET)
    check_images(calls)
    x = np.random.default_rng(7).standard_normal((rows, depth)).astype(np.float32)
    value, output = operation.inputs[0], operation.outputs[0]
    found = read(output, run_calls(calls, TARGET, {value: fill(value, x)})[output])
    expected = packed.expected(operation, x)
    assert np.abs(found - expected).max() <= FLOAT_TOLERANCE * np.abs(expected).max()


ACTIVE = with_textures(PLAIN, row_texels=4)


def check_activations(calls, *, are_images=True):
    """Whether the kernels with weights read x as an image."""
    products = [call for call in calls if any(isinstance(a, Constant) for a in call.arguments)]
    arguments = [
        [image for image in call.launch.images if image.argument == 0] for call in products
    ]
    assert any(arguments) == are_images
    for call, images in zip(products, arguments, strict=True):
        for image in images:
            value = call.arguments[0]
            rest = image.elements - value.view.elements
            assert 0 <= rest < 4 * image.width  # the last row may end behind it


@pytest.mark.parametrize(
    "case",
    [
        Conv(c=8, m=21, h=5, w=7),
        Conv(c=20, m=9, h=5, w=7, k=(3, 3), p=(1, 1, 1, 1), act=RELU, residual=True),
        Conv(c=12, m=8, h=9, w=6, n=2, k=(3, 2), s=(2, 1), d=(2, 2), p=(2, 0, 1, 2)),
        Conv(c=16, m=6, h=4, w=5, g=2, k=(3, 3), p=(1, 1, 1, 1), x_halo=Halo(2, 1, 3, 2)),
        Conv(c=4, m=4, h=1, w=1),
    ],
    ids=str,
)
@pytest.mark.parametrize("row_texels", [1, 64])
def test_activations(case, row_texels):
    target = with_textures(PLAIN, row_texels=row_texels)
    operation, buffers, expected = make_float(case, np.random.default_rng(1))
    check_activations(convolution.emit(operation, target))
    found, flat = run(convolution, operation, buffers, target)
    assert np.abs(found - expected).max() <= FLOAT_TOLERANCE * max(1, np.abs(expected).max())
    assert halo_untouched(operation.output, flat)


@pytest.mark.parametrize(
    "case",
    [
        Conv(c=12, m=12, g=12, h=7, w=9, k=(3, 3), p=(1, 1, 1, 1), act=RELU),
        Conv(c=8, m=8, g=8, h=9, w=7, n=2, k=(5, 7), p=(2, 3, 2, 3), s=(2, 2)),
        Conv(c=4, m=4, g=4, h=8, w=8, k=(3, 3), d=(2, 2), residual=True),
    ],
    ids=str,
)
def test_activations_of_depthwise(case):
    operation, buffers, expected = make_float(case, np.random.default_rng(1))
    check_activations(depthwise.emit(operation, ACTIVE))
    check(depthwise, operation, buffers, ACTIVE, expected=expected)


@pytest.mark.parametrize("schedule", [convolution, depthwise])
def test_activations_in_half(schedule):
    case = Conv(
        c=8, m=8, h=5, w=6, k=(3, 3), p=(1, 1, 1, 1), g=8 if schedule is depthwise else 1
    )
    operation, buffers, expected = make_float(case, np.random.default_rng(5), "float16")
    store_as("float16", operation, buffers)
    check_activations(schedule.emit(operation, ACTIVE))
    found, _ = run(schedule, operation, buffers, ACTIVE)
    assert np.abs(found - expected).max() <= 1e-2 * np.abs(expected).max()


def test_activations_through_local_memory():
    case = Conv(c=16, m=37, h=9, w=11, k=(3, 3), p=(1, 1, 1, 1))
    operation, buffers, expected = make_float(case, np.random.default_rng(1))
    calls = shared_product.emit(operation, ACTIVE)
    check_activations(calls)
    found = read(operation.output, run_calls(calls, ACTIVE, buffers)[operation.output])
    assert np.abs(found - expected).max() <= FLOAT_TOLERANCE * max(1, np.abs(expected).max())


def test_activations_of_winograd():
    case = Conv(c=12, m=13, h=9, w=10, k=(3, 3), p=(1, 1, 1, 1))
    operation, buffers, expected = make_float(case, np.random.default_rng(1))
    calls = winograd.emit_with(operation, ACTIVE, 2)
    check_activations(calls)
    found = read(operation.output, run_calls(calls, ACTIVE, buffers)[operation.output])
    assert np.abs(found - expected).max() <= 1e-4 * max(1, np.abs(expected).max())


def test_rows_of_images_of_dynamic_sizes():
    """Those of the largest size; every distance is whole texels, whatever the size."""
    size, texels = Size.of(Symbol("n", 1, 100)), with_textures(PLAIN, row_texels=64, height=9)
    gpu = texels.gpu
    assert image_width("float32", 8 * size, [4 * size, 4], gpu) == 64
    assert (
        image_width("float32", 40 * size, [40], gpu) == 128
    )  # 1000 texels are 8 rows of these
    assert image_width("float32", 8 * size, [6 * size], gpu) is None
    assert image_width("float32", 8 * size + 2, [8], gpu) is None
    assert image_width("int8", 8 * size, [8], gpu) is None


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("emit", [shared_product.emit, lambda *of: winograd.emit_with(*of, 2)])
def test_16_bits_of_larger_tiles(emit, dtype):
    """Images of weights, and of float16: the results are those of buffers, bit by bit."""
    case = Conv(c=16, m=37, h=9, w=11, k=(3, 3), p=(1, 1, 1, 1), residual=True)
    operation, buffers, _ = make_float(case, np.random.default_rng(1), dtype)
    store_as(dtype, operation, buffers)
    found = []
    for target in (PLAIN, ACTIVE):
        calls = emit(operation, target)
        if target is ACTIVE:
            check_images(calls)
        found.append(run_calls(calls, target, buffers)[operation.output].view(np.uint16))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    "case",
    [
        Conv(c=6, m=8),  # channels that are no whole texels
        Conv(c=12, m=8, g=2),  # of a group
        Conv(c=1, m=8, h=5, w=8, k=(1, 4)),
    ],
    ids=str,
)
def test_activations_that_are_no_whole_texels_stay_in_buffers(case):
    operation, buffers, expected = make_float(case, np.random.default_rng(1))
    check_activations(convolution.emit(operation, ACTIVE), are_images=False)
    check(convolution, operation, buffers, ACTIVE, expected=expected)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_activations_that_are_integers_stay_in_buffers(dtype):
    target = dataclasses.replace(ACTIVE, activation_dtype=dtype)
    case = Conv(c=8, m=8, k=(3, 3), p=(1, 1, 1, 1), finish="requantize")
    operation, buffers, expected = make_integer(case, target, np.random.default_rng(1))
    check_activations(convolution.emit(operation, target), are_images=False)
    check(convolution, operation, buffers, target, expected=expected)


def test_rows_are_longer_where_images_are_low():
    operation, _, _ = make_float(Conv(c=8, m=4, h=10, w=10), np.random.default_rng(1))
    for height, width in ((200, 1), (199, 2), (50, 4), (1, None)):
        target = with_textures(PLAIN, 128, height, row_texels=1)
        (call,) = convolution.emit(operation, target)
        (found,) = [image.width for image in call.launch.images if image.argument == 0] or [
            None
        ]
        assert found == width


def test_a_part_of_an_image():
    """Some channels of one that is wider."""
    operation, _, expected = make_float(Conv(c=8, m=4, h=5, w=6), np.random.default_rng(1))
    x = operation.inputs[0]
    array = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
    for first, are_images in ((4, True), (2, False)):
        whole = Value("whole", (1, 16, 5, 6), "float32", Order.NHWC, x.halo)
        contents = np.ones(whole.shape, np.float32)
        contents[:, first : first + 8] = array
        part = dataclasses.replace(x, part_of=whole, first_channel=first)
        used = dataclasses.replace(operation, inputs=[part, *operation.inputs[1:]])
        calls = convolution.emit(used, ACTIVE)
        check_activations(calls, are_images=are_images)
        calls = [
            dataclasses.replace(
                call, arguments=tuple(whole if a is part else a for a in call.arguments)
            )
            for call in calls
        ]
        flat = run_calls(calls, ACTIVE, {whole: fill(whole, contents)})[operation.output]
        found = read(operation.output, flat)
        assert np.abs(found - expected).max() <= FLOAT_TOLERANCE * np.abs(expected).max()


def test_what_is_too_large_stays_in_buffers():
    """Columns beside each other are the width, elements of K in fours the height."""
    operation, buffers, expected = make_float(Conv(c=40, m=24), np.random.default_rng(1))
    (call,) = convolution.emit(operation, with_textures(PLAIN, 24, 10))
    assert call.launch.images == (ImageArgument(1, 24, 10),)
    for limits in ((23, 10), (24, 9)):
        (plain,) = convolution.emit(operation, with_textures(PLAIN, *limits))
        assert plain.launch.images == ()
        assert plain.kernel.symbol == convolution.emit(operation, PLAIN)[0].kernel.symbol
    check(convolution, operation, buffers, with_textures(PLAIN, 24, 10), expected=expected)


def test_the_text():
    operation, _, _ = make_float(Conv(c=8, m=8), np.random.default_rng(1))
    for target, has_images in ((TARGET, True), (PLAIN, False)):
        kernels = [call.kernel for call in convolution.emit(operation, target)]
        text = opencl_source(kernels, target.gpu)
        assert ("__read_only image2d_t weights" in text) == has_images
        assert ("image_sampler" in text) == has_images
        assert "image2d_array_t" not in text


def test_targets_with_images():
    operation, _, _ = make_float(Conv(c=64, m=64, h=14, w=14), np.random.default_rng(1))
    able = set()
    for target in list_targets():
        if target.gpu is not None and any(
            call.launch.images for call in convolution.emit(operation, target)
        ):
            able.add(target.name)
    assert able == {"adreno-6xx", "adreno-7xx"}
