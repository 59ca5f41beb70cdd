"""8-bit products of weights in 4 bits: the bits of docs/numerics.md on every target."""

import dataclasses

import numpy as np
import pytest
from helpers.dense import (
    RELU,
    Conv,
    as_matrix_multiply,
    convolve,
    halo_untouched,
    make_integer,
    requantize,
    run,
)
from helpers.dense_cases import SAME3
from helpers.kernels import read
from helpers.targets import A53, A76, ALL, ARMV7, HOSTS

from edgecomp.plan.finish import Accumulate, Requantize
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu import convolution, matrix_multiply
from edgecomp.schedules.cpu.int4_code import scaled
from edgecomp.schedules.cpu.int4_groups import divided, holds_groups

CASES = (
    Conv(c=1, m=1, h=1, w=1, finish="requantize"),
    Conv(c=67, m=90, h=1, w=9, finish="requantize"),
    Conv(c=19, m=37, h=5, w=6, **SAME3, finish="requantize", act=RELU),
    Conv(c=64, m=48, h=6, w=7, finish="add", residual=True),
    Conv(c=24, m=36, g=3, h=5, w=5, **SAME3, finish="scale", act=RELU),
    Conv(c=3, m=20, h=9, w=9, k=(3, 3), s=(2, 2), p=(1, 1, 1, 1), finish="requantize"),
    Conv(c=600, m=33, h=1, w=5, finish="requantize", extreme=True),
)


@pytest.mark.parametrize("target", ALL, ids=lambda t: t.name)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_convolution(case, target):
    operation, buffers, expected = make_integer(case, target, np.random.default_rng(3), 4)
    assert convolution.match(operation, target) == ""
    (call,) = convolution.emit(operation, target)
    assert "int4" in call.kernel.symbol
    found, flat = run(convolution, operation, buffers, target, slices=2)
    if case.finish == "scale":
        np.testing.assert_array_equal(found, expected.astype(np.float32))
    else:
        np.testing.assert_array_equal(found, expected)
    assert halo_untouched(operation.output, flat)


@pytest.mark.parametrize("target", [*HOSTS, A53, A76, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("rows", [1, 13])
def test_matrix_product(rows, target):
    case = Conv(c=130, m=75, h=1, w=rows, finish="requantize")
    operation, buffers, expected = make_integer(case, target, np.random.default_rng(4), 4)
    product, values = as_matrix_multiply(operation)
    x = operation.inputs[0]
    found, _ = run(
        matrix_multiply, product, {values[x]: buffers[x].reshape(-1)}, target, slices=2
    )
    np.testing.assert_array_equal(found.transpose(0, 3, 1, 2), expected)


def grouped_weights(rng, columns, depth, *, extreme):
    """Numbers of 4 bits times a multiple for each 32 inputs."""
    multiples = rng.integers(1, 16, (columns, depth // 32))
    numbers = rng.integers(-8, 8, (columns, depth))
    if extreme:
        multiples[:] = 15
        numbers = rng.choice([-8, 7], (columns, depth), p=[0.8, 0.2])
        numbers[0], numbers[-1] = -8, 7
    else:
        numbers[columns // 2, :32] = 0
    return (numbers * multiples.repeat(32, axis=1)).astype(np.int8)


@pytest.mark.parametrize("target", ALL, ids=lambda t: t.name)
@pytest.mark.parametrize(
    "case",
    [
        Conv(c=32, m=5, h=1, w=1, finish="requantize"),
        Conv(c=160, m=75, h=1, w=1, finish="requantize"),
        Conv(c=160, m=75, h=1, w=13, finish="requantize"),
        Conv(c=96, m=130, h=1, w=29, finish="scale", act=RELU),
        Conv(c=608, m=33, h=1, w=5, finish="requantize", extreme=True),
    ],
    ids=str,
)
def test_groups_of_weights_times_whole_numbers(case, target):
    rng = np.random.default_rng(6)
    operation, buffers, _ = make_integer(case, target, rng, 4)
    x, weight, bias = operation.inputs[:3]
    columns = grouped_weights(rng, case.m, case.c, extreme=case.extreme)
    weight.constant = columns.reshape(weight.constant.shape)
    sums = convolve(read(x, buffers[x]), weight.constant, case)
    middle = np.rint(sums.mean(axis=(0, 2, 3))).astype(np.int32)
    bias.constant = rng.integers(-1000, 1000, case.m).astype(np.int32) - middle
    acc = sums + bias.constant.astype(np.int64)[None, :, None, None]
    multiplier = (rng.uniform(10, 100, case.m) / np.abs(acc).max(axis=(0, 2, 3))).astype(
        np.float32
    )
    finish = dataclasses.replace(operation.kind.finish, multiplier=multiplier)
    if case.finish == "requantize":
        bounds = np.iinfo(target.activation_dtype)
        whole = {"low": bounds.min, "high": bounds.max, "zero_point": bounds.min + 128}
        finish = dataclasses.replace(finish, **whole)
    operation.kind = dataclasses.replace(operation.kind, finish=finish)
    product, values = as_matrix_multiply(operation)
    (call,) = matrix_multiply.emit(product, target)
    assert "int4_groups" in call.kernel.symbol
    assert call.arguments[1].array.nbytes <= (case.m + 15) * case.c * 5 // 8
    inputs = {values[x]: buffers[x].reshape(-1)}
    found = run(matrix_multiply, product, inputs, target, slices=2)[0].transpose(0, 3, 1, 2)
    if case.finish == "scale":
        scaled_sums = acc.astype(np.float32) * multiplier[None, :, None, None]
        np.testing.assert_array_equal(found, np.maximum(scaled_sums, 0))
    else:
        np.testing.assert_array_equal(found, requantize(acc, finish))
    assert len(np.unique(found)) > case.w


def test_multiples_are_found(rng):
    weight = (rng.integers(-8, 8, (40, 64)) * rng.integers(1, 16, (40, 1))).astype(np.int8)
    numbers, multiples = divided(weight)
    assert numbers.min() >= -8
    assert numbers.max() <= 7
    np.testing.assert_array_equal(numbers * multiples.repeat(32, axis=1).astype(int), weight)
    weight[5, :2] = 119, 120
    assert not holds_groups(weight)


def test_memory_holds_half_a_byte_for_each():
    case = Conv(c=64, m=64, h=1, w=3, finish="requantize")
    operation = make_integer(case, HOSTS[0], np.random.default_rng(0), 4)[0]
    (call,) = matrix_multiply.emit(as_matrix_multiply(operation)[0], HOSTS[0])
    assert call.arguments[1].array.nbytes == 64 * 64 // 2


def test_sums_of_groups_that_could_leave_int32_keep_bytes():
    case = Conv(c=64, m=5, h=1, w=3, finish="requantize")
    operation = make_integer(case, A76, np.random.default_rng(5), 4)[0]
    weight, bias = operation.inputs[1:3]
    columns = grouped_weights(np.random.default_rng(5), 5, 64, extreme=True)
    weight.constant = columns.reshape(weight.constant.shape)
    for largest, held in ((1 << 20, True), (1 << 29, False)):
        bias.constant = np.full(5, largest, np.int32)
        symbols = {
            target.name: matrix_multiply.emit(as_matrix_multiply(operation)[0], target)[
                0
            ].kernel.symbol
            for target in (A53, A76)
        }
        assert "int4_groups" in symbols["a53"]  # its sums are no larger
        assert ("int4_groups" in symbols["a76"]) is held


def test_sums_that_could_leave_int32_keep_bytes():
    weight, bias = np.full((2, 40), 7, np.int8), np.array([0, 1 << 28], np.int32)
    finish = Requantize(np.float32([0.01]), 0, 0, 255)
    assert scaled(weight[:1], bias[:1], finish) is not None
    assert scaled(weight, bias, finish) is None
    tiny = dataclasses.replace(finish, multiplier=np.float32([1e-37]))
    assert scaled(weight[:1], bias[:1], tiny) is None
    assert scaled(weight[:1], bias[:1], Accumulate()) is None


@pytest.mark.parametrize("target", [HOSTS[0], HOSTS[-1]], ids=lambda t: t.name)
def test_such_sums_are_right(target):
    case = Conv(c=40, m=5, h=1, w=3, finish="requantize")
    operation, buffers, _ = make_integer(case, target, np.random.default_rng(5), 4)
    bias = operation.inputs[2]
    bias.constant = np.full(5, 1 << 29, np.int32)
    (call,) = convolution.emit(operation, target)
    wide = dataclasses.replace(operation.kind, weight_bits=8)
    plain = Operation(wide, operation.inputs, operation.outputs)
    found, wanted = (run(convolution, each, buffers, target)[0] for each in (operation, plain))
    np.testing.assert_array_equal(found, wanted)
    assert isinstance(bias, Value)
    assert call.kernel.symbol
