"""Learned scales: the numbers of QuantizeLinear, the gradients of the papers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.train.quantizer import BiasQuantizer, Quantizer, round_through

scales = st.floats(2.0**-20, 1024, width=32)
zeros = st.integers(0, 255)
seeds = st.integers(0, 2**32 - 1)


def quantizer(scale, zero=0, low=0, high=255, **settings):
    settings = {"learn_zero_point": True, **settings}
    scale = torch.tensor(np.asarray(scale, np.float32))
    zero = torch.tensor(np.asarray(zero, np.float32)).expand(scale.shape).clone()
    return Quantizer(scale, zero, low, high, **settings)


def reals(seed, scale, count=257):
    """Of the whole range and beyond it."""
    rng = np.random.default_rng(seed)
    steps = np.concatenate([rng.uniform(-400, 400, count), rng.integers(-400, 400, 9) + 0.5])
    return (steps * scale).astype(np.float32)


def expected(x, scale, zero, low=0, high=255):
    """docs/numerics.md, "Edges"."""
    scale = np.float32(scale)
    stored = np.clip(np.rint(x / scale) + zero, low, high)
    return stored, (stored - zero).astype(np.float32) * scale


@given(scales, zeros, seeds)
def test_numbers_are_those_of_the_file(scale, zero, seed):
    x = reals(seed, scale)
    q = quantizer(scale, zero)
    stored, real = expected(x, scale, zero)
    np.testing.assert_array_equal(q.store(torch.tensor(x)).detach().numpy(), stored)
    np.testing.assert_array_equal(q.round(torch.tensor(x)).detach().numpy(), real)
    np.testing.assert_array_equal(
        q.restore(torch.tensor(stored.astype(np.float32))).detach().numpy(), real
    )


@given(seeds, st.integers(1, 4), st.integers(0, 2))
def test_scales_of_channels(seed, channels, axis):
    rng = np.random.default_rng(seed)
    shape = [3, 3, 3]
    shape[axis] = channels
    x = rng.standard_normal(shape).astype(np.float32)
    scale = rng.uniform(0.01, 0.1, channels).astype(np.float32)
    q = quantizer(scale, low=-127, high=127)
    along = [-1 if d == axis else 1 for d in range(3)]
    stored, _ = expected(x, scale.reshape(along), 0, -127, 127)
    found = q.store(torch.tensor(x), axis=axis).detach().numpy()
    np.testing.assert_array_equal(found, stored)


def test_scales_of_blocks():
    x = np.arange(14, dtype=np.float32).reshape(7, 2) / 8
    scale = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
    found = quantizer(scale, low=-8, high=7).store(torch.tensor(x), axis=0, block=4)
    whole = np.repeat(scale, 4, axis=0)[:7]
    np.testing.assert_array_equal(found.detach().numpy(), expected(x, whole, 0, -8, 7)[0])


def gradients(q, x, weights, fused):
    """Of sum(weights * rounded): by x, growth and shift, before they are balanced."""
    x = torch.tensor(x, requires_grad=True)
    y = q.round(x) if fused else q.restore(q.store(x))
    found = torch.autograd.grad((y * torch.tensor(weights)).sum(), [x, q.growth, q.shift])
    of_x, of_growth, of_shift = (each.double().numpy() for each in found)
    s, balance = q.first_scale.double().numpy(), 1 / math.sqrt(255)
    return of_x, of_growth / balance * s**2, of_shift / balance * (255 * s) ** 2


@given(scales, zeros, seeds, st.booleans())
def test_gradients_are_those_of_the_papers(scale, zero, seed, fused):
    x = reals(seed, scale)
    weights = np.random.default_rng(seed + 1).standard_normal(x.shape).astype(np.float32)
    q = quantizer(scale, zero)
    s = float(np.float32(scale))
    steps = (x / np.float32(scale)).astype(np.float64)
    low, high = -zero, 255 - zero
    inside = (steps >= low) & (steps <= high)
    of_x = np.where(inside, weights, 0)
    bound = np.where(steps < low, low, high)
    of_s = np.sum(weights * np.where(inside, np.rint(steps) - steps, bound))
    of_z = np.sum(np.where(inside, 0, -s * weights))
    found = gradients(q, x, weights, fused)
    np.testing.assert_allclose(found[0], of_x, rtol=1e-6)
    # s = s0 exp(growth), z = z0 + 255 shift
    size = np.abs(weights).sum() * 255 * s
    assert abs(found[1] - of_s * s) < 1e-5 * size
    assert abs(found[2] - of_z * 255) < 1e-5 * size


@given(st.floats(0.01, 1), seeds)
def test_the_gradient_of_clipped_numbers_is_a_difference_quotient(scale, seed):
    x = np.random.default_rng(seed).uniform(300, 400, 5).astype(np.float32) * scale
    x[::2] *= -1
    q = quantizer(scale, 100).double()
    found = gradients(q, x.astype(np.float64), np.ones(5), fused=True)
    for parameter, gradient in ((q.growth, found[1]), (q.shift, found[2])):
        # z moves by whole numbers.
        step = 1e-4 if parameter is q.growth else 1 / 255
        with torch.no_grad():
            values = []
            for sign in (1, -1):
                parameter += sign * step
                values.append(float(q.round(torch.tensor(x).double()).sum()))
                parameter -= sign * step
        quotient = (values[0] - values[1]) / (2 * step)
        assert quotient == pytest.approx(float(gradient), rel=1e-4, abs=1e-6 * scale)


def test_plain_descent_takes_the_steps_of_the_paper():
    """One step of SGD changes s by ``-rate * g * dL/ds``, to first order."""
    scale, rate, numbers = 0.05, 1e-6, 64
    x = torch.tensor(reals(3, scale))
    q = quantizer(scale, numbers=numbers)
    optimizer = torch.optim.SGD(q.parameters(), lr=rate)
    q.round(x).sum().backward()
    optimizer.step()
    steps = x.double().numpy() / scale
    inside = (steps >= 0) & (steps <= 255)
    of_s = np.where(inside, np.rint(steps) - steps, np.where(steps < 0, 0, 255)).sum()
    change = float(q.growth.detach().double().exp() - 1) * scale
    assert change == pytest.approx(-rate * of_s / math.sqrt(numbers * 255), rel=1e-3)


def test_a_batch_is_as_its_samples():
    x = torch.tensor(reals(0, 0.1, 247).reshape(4, 64))
    q = quantizer(0.1, 30)
    both = [torch.vmap(q.round)(x), q.round(x)]
    assert torch.equal(*both)
    of_batch, of_all = (torch.autograd.grad((y**2).sum(), [q.growth, q.shift]) for y in both)
    for a, b in zip(of_batch, of_all, strict=True):
        torch.testing.assert_close(a, b)


def test_a_bias_has_the_scale_of_its_product():
    activation, weight = quantizer(0.1), quantizer([0.01, 0.02], low=-127, high=127)
    bias = BiasQuantizer(activation, weight)
    x = torch.tensor([1.23456, -0.34567], requires_grad=True)
    stored = bias.store(x, axis=0)
    unit = np.float64(np.float32(0.1)) * np.array([0.01, 0.02], np.float32)
    np.testing.assert_array_equal(stored.detach().numpy(), np.rint(x.detach().numpy() / unit))
    (gradient,) = torch.autograd.grad(bias.restore(stored, axis=0).sum(), [x])
    torch.testing.assert_close(gradient, torch.ones(2))


@given(st.floats(-(2.0**20), 2.0**20, width=32))
def test_rounding_is_exact(x):
    assert float(round_through(torch.tensor(x))) == np.rint(np.float32(x))


def test_zero_points_stay_stored_numbers():
    q = quantizer(0.1, 250)
    with torch.no_grad():
        q.shift += 1.0
    assert float(q.zero_point().detach()) == 255
