"""8-bit products of weights in 4 bits: the bits of docs/numerics.md on every target."""

import dataclasses

import numpy as np
import pytest
from helpers.dense import RELU, Conv, as_matrix_multiply, halo_untouched, make_integer, run
from helpers.dense_cases import SAME3
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


@pytest.mark.parametrize("target", ALL, ids=lambda t: t.name)
@pytest.mark.parametrize("rows", [1, 13])
def test_groups_of_weights_times_whole_numbers(rows, target):
    rng = np.random.default_rng(6)
    case = Conv(c=160, m=75, h=1, w=rows, finish="requantize")
    operation, buffers, _ = make_integer(case, target, rng, 4)
    weight = operation.inputs[1]
    multiples = rng.integers(1, 16, (75, 5)).repeat(32, axis=1)
    grouped = (rng.integers(-8, 8, (75, 160)) * multiples).astype(np.int8)
    grouped[3, 32:64] = 0
    weight.constant = grouped.reshape(weight.constant.shape)
    finish = operation.kind.finish
    finish = dataclasses.replace(finish, multiplier=finish.multiplier / np.float32(16))
    operation.kind = dataclasses.replace(operation.kind, finish=finish)
    wide = dataclasses.replace(operation.kind, weight_bits=8)
    wanted = run(
        convolution, Operation(wide, operation.inputs, operation.outputs), buffers, target
    )[0]
    product, values = as_matrix_multiply(operation)
    (call,) = matrix_multiply.emit(product, target)
    assert "int4_groups" in call.kernel.symbol
    x = operation.inputs[0]
    found, _ = run(
        matrix_multiply, product, {values[x]: buffers[x].reshape(-1)}, target, slices=2
    )
    np.testing.assert_array_equal(found.transpose(0, 3, 1, 2), wanted)
    assert len(np.unique(found)) > 8


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
