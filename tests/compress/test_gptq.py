"""GPTQ against the method it comes from, written down plainly."""

import hypothesis
import numpy as np
import pytest
from helpers.correlated import correlated
from hypothesis import strategies as st

from edgecomp.compress.gptq import gptq, output_error
from edgecomp.compress.grid import WeightForm, grid_of
from edgecomp.compress.round_to_nearest import round_to_nearest


def optimal_brain_quantizer(weight, hessian, form, damping=0.01):
    """Numbers [K, N]: one row at a time, all of the inverse updated for each.

    Without Cholesky factors, blocks and lazy updates: equations 2 and 3 of the paper.
    """
    depth = len(weight)
    left, numbers = weight.copy(), np.zeros(weight.shape, np.uint8)
    damped = hessian + damping * np.diag(hessian).mean() * np.eye(depth)
    inverse = np.linalg.inv(damped)
    block = form.group or depth
    order = np.argsort(-np.diag(hessian), kind="stable")
    grids = {}
    for row in order:
        index = row // block
        if index not in grids:
            grids[index] = grid_of(weight[index * block : (index + 1) * block], form)
        numbers[row] = grids[index].store(left[row])
        error = (left[row] - grids[index].real(numbers[row])) / inverse[row, row]
        left -= np.outer(inverse[:, row], error)
        inverse -= np.outer(inverse[:, row], inverse[row]) / inverse[row, row]
    return numbers


@hypothesis.settings(max_examples=20)
@hypothesis.given(
    bits=st.sampled_from([2, 3, 4, 8]),
    group=st.sampled_from([0, 16, 32, 144]),
    symmetric=st.booleans(),
    depth=st.sampled_from([5, 64, 130, 200]),
    columns=st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_same_numbers(bits, group, symmetric, depth, columns, seed):
    rng = np.random.default_rng(seed)
    x = correlated(rng, 2 * depth, depth)
    weight, hessian = rng.standard_normal((depth, columns)), x.T @ x
    form = WeightForm(bits=bits, group=group, symmetric=symmetric)
    found = gptq(weight, hessian, form)
    wanted = optimal_brain_quantizer(weight, hessian, form)
    np.testing.assert_array_equal(found.numbers, wanted)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("group", [0, 32])
def test_it_loses_less_than_rounding_to_nearest(problem, bits, group):
    _, weight, hessian = problem
    form = WeightForm(bits=bits, group=group)
    found = gptq(weight, hessian, form)
    control = output_error(weight, round_to_nearest(weight, form), hessian)
    assert output_error(weight, found, hessian) < 0.6 * control


def test_the_error_is_that_of_the_results(problem):
    x, weight, hessian = problem
    stored = round_to_nearest(weight, WeightForm(bits=3, group=32))
    lost = ((x @ (weight - stored.real())) ** 2).sum() / ((x @ weight) ** 2).sum()
    assert output_error(weight, stored, hessian) == pytest.approx(lost, rel=1e-9)


def test_inputs_that_do_not_correlate_are_rounded_to_nearest(rng):
    weight = rng.standard_normal((40, 6))
    hessian = np.diag(rng.uniform(1, 2, 40))
    form = WeightForm(bits=4, group=16)
    found = gptq(weight, hessian, form)
    np.testing.assert_array_equal(found.numbers, round_to_nearest(weight, form).numbers)


def test_fewer_samples_than_inputs_and_inputs_that_are_always_zero(rng):
    x = correlated(rng, 20, 64)
    x[:, [3, 50]] = 0.0
    weight, hessian = rng.standard_normal((64, 10)), x.T @ x
    form = WeightForm(bits=4, group=32)
    found, control = gptq(weight, hessian, form), round_to_nearest(weight, form)
    np.testing.assert_array_equal(found.numbers[[3, 50]], control.numbers[[3, 50]])
    assert output_error(weight, found, hessian) < output_error(weight, control, hessian)


def test_nothing_was_seen(rng):
    weight = rng.standard_normal((32, 4))
    form = WeightForm(bits=4, group=32)
    found = gptq(weight, np.zeros((32, 32)), form)
    np.testing.assert_array_equal(found.numbers, round_to_nearest(weight, form).numbers)
    assert output_error(weight, found, np.zeros((32, 32))) == 0.0
