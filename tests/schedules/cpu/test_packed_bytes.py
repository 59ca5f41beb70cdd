"""Few rows by packed weights as bytes of x: as exact as float32, whatever x is."""

import dataclasses

import numpy as np
import pytest
from helpers.kernels import run_calls
from helpers.packed import expected, product_of
from helpers.targets import ALL, AVX2, AVX512

from edgecomp.plan.finish import Activation
from edgecomp.schedules.cpu import packed_product
from edgecomp.schedules.cpu.packed_bytes import can_multiply_bytes

TARGETS = [target for target in ALL if can_multiply_bytes(target, 4, 64)]


def run(product, target, x):
    calls = packed_product.emit(product, target)
    assert "_bytes_" in calls[-1].kernel.symbol
    found = run_calls(calls, target, {product.inputs[0]: x.reshape(-1)}, slices=2)
    return found[product.outputs[0]].reshape(x.shape[0], -1)


def random_rows(product):
    shape = product.inputs[0].shape
    return np.random.default_rng(2).standard_normal(shape).astype(np.float32)


def test_some_target_has_it():
    assert {target.core.isa for target in TARGETS} >= {"aarch64"}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("rows", [1, 2, 3, 4])
@pytest.mark.parametrize("same_zero", [True, False])
def test_results_are_as_near_as_those_of_float32(target, bits, rows, same_zero):
    product = product_of(rows, 203, 45, bits, 64, same_zero=same_zero)
    x = random_rows(product)
    want = expected(product, x)
    numbers, scales, zeros, _ = (value.constant for value in product.inputs[1:])
    weights = (numbers - zeros[np.arange(203) // 64].astype(np.float64)) * scales[
        np.arange(203) // 64
    ]
    error = np.abs(run(product, target, x) - want)
    assert (error <= 4e-7 * (np.abs(x).max() * np.abs(weights).sum(0))).all()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("block", [5, 16, 40, 200, 1 << 15])
def test_blocks_of_any_size(target, block):
    product = product_of(2, 200, 19, 4, block, same_zero=False)
    x = random_rows(product)
    want = expected(product, x)
    np.testing.assert_allclose(run(product, target, x), want, atol=2e-6 * np.abs(want).max())


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("scale", [0.0, 1e-44, 1e-37, 1e-20, 1e20, 1e36])
def test_magnitudes(target, scale):
    """Nothing but what float32 cannot hold is lost."""
    product = product_of(1, 96, 20, 4, 32, same_zero=True)
    product.inputs[4].constant[...] = 0.0
    x = np.float32(scale) * random_rows(product)
    want = expected(product, x)
    found = run(product, target, x)
    np.testing.assert_allclose(found, want, atol=2e-6 * np.abs(want).max() + 1e-36)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("activation", [None, Activation("relu")])
def test_what_is_not_finite_stays_in_its_row(target, special, activation):
    product = product_of(3, 96, 20, 4, 32, same_zero=True, activation=activation)
    x = random_rows(product)
    plain = run(product, target, x)
    x[1, 40] = special
    found = run(product, target, x)
    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(found[[0, 2]], plain[[0, 2]])


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_largest_sums_fit(target):
    """All numbers, all elements and a zero point at their ends."""
    product = product_of(1, 1 << 15, 4, 8, 1 << 15, same_zero=True)
    numbers, scales, zeros, bias = (value.constant for value in product.inputs[1:])
    numbers[...], scales[...], bias[...] = 255, 2.0**-20, 0.0
    zeros[...] = 0
    x = np.full((1, 1 << 15), -np.nextafter(np.float32(2.0), np.float32(0.0)), np.float32)
    want = expected(product, x)
    np.testing.assert_allclose(run(product, target, x), want, rtol=1e-6)


def test_what_does_not_fit_is_multiplied_in_float32():
    (target, *_) = TARGETS
    assert not can_multiply_bytes(target, 4, (1 << 15) + 1)
    assert not can_multiply_bytes(target, 3, 64)
    assert not can_multiply_bytes(target, 1, 64)
    core = dataclasses.replace(target.core, features=frozenset())
    assert not can_multiply_bytes(dataclasses.replace(target, core=core), 4, 64)
    # avxvnni alone has no instruction for registers of 512 bits.
    core = dataclasses.replace(AVX512.core, features=frozenset({"avx2", "avx512", "avxvnni"}))
    assert not can_multiply_bytes(dataclasses.replace(AVX512, core=core), 4, 64)
    core = dataclasses.replace(AVX2.core, features=frozenset({"avx2", "avxvnni"}))
    assert can_multiply_bytes(dataclasses.replace(AVX2, core=core), 4, 64)
    product = product_of(5, 64, 8, 4, 32, same_zero=True)
    assert "_bytes_" not in packed_product.emit(product, target)[-1].kernel.symbol
