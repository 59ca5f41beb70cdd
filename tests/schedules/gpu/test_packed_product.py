"""Products with packed weights as GPUs compute them, against float64."""

import dataclasses

import numpy as np
import pytest
from helpers.gpu import current_target
from helpers.kernels import run_calls
from helpers.packed import expected, product_of

from edgecomp.plan.finish import Activation
from edgecomp.plan.sizes import Size, Symbol, evaluate
from edgecomp.schedules.gpu import packed_product
from edgecomp.schedules.gpu.family import gpu_names, sized_schedules
from edgecomp.schedules.gpu.packed_tile import spans_of
from edgecomp.schedules.gpu.product_tiles import choose_tile


def found(operation, x):
    target = current_target()
    assert packed_product.match(operation, target) == ""
    calls = packed_product.emit(operation, target)
    y = operation.outputs[0]
    return run_calls(calls, target, {operation.inputs[0]: x.reshape(-1)})[y].reshape(y.shape)


def sized(operation, target):
    """Calls of an operation of dynamic rows."""
    names = gpu_names(packed_product.NAME)
    (schedule,) = (s for s in sized_schedules(target.gpu.api) if s.NAME in names)
    assert schedule.match(operation, target) == ""
    return schedule.emit(operation, target)


@pytest.mark.parametrize(
    ("rows", "depth", "columns", "bits", "block", "same_zero"),
    [
        (1, 64, 37, 4, 32, True),
        (1, 1100, 130, 4, 32, False),  # shares of K, and what is left behind the last unit
        (1, 2000, 12, 3, 2000, True),  # one block, whose units are no whole parts
        (2, 600, 9, 8, 600, True),
        (13, 64, 40, 4, 16, False),
        (7, 90, 20, 3, 12, False),
        (11, 100, 130, 1, 32, True),
    ],
)
def test_product(rows, depth, columns, bits, block, same_zero, rng):
    operation = product_of(
        rows, depth, columns, bits, block, same_zero=same_zero, activation=Activation("relu")
    )
    x = rng.standard_normal((rows, depth)).astype(np.float32)
    want = expected(operation, x)
    np.testing.assert_allclose(found(operation, x), want, atol=2e-5 * np.abs(want).max())


@pytest.mark.parametrize(("bits", "rows"), [(1, 1), (2, 5), (3, 1), (4, 1), (8, 5)])
def test_unpacking_is_exact(bits, rows, rng):
    """Small integers and scales that are powers of two leave no rounding in any order of sums."""
    operation = product_of(rows, 300, 33, bits, 32, same_zero=bits == 1)
    _, _, scales, _, bias = operation.inputs
    powers = np.arange(scales.constant.size).reshape(scales.constant.shape) % 3
    scales.constant[...] = 0.25 * 2.0**powers
    bias.constant[...] = np.rint(8 * bias.constant)
    x = rng.integers(-8, 9, (rows, 300)).astype(np.float32)
    np.testing.assert_array_equal(found(operation, x), expected(operation, x))


@pytest.mark.parametrize(
    ("bounds", "depth", "columns", "bits", "block", "same_zero"),
    [
        ((1, 40), 64, 37, 4, 32, True),
        ((1, 24), 1100, 130, 4, 32, False),
        ((1, 3), 600, 9, 8, 600, True),  # of few rows alone
        ((1, 8), 2000, 12, 3, 2000, True),
        ((9, 128), 90, 20, 2, 12, False),  # of many alone
        ((1, 112), 100, 130, 1, 32, True),
    ],
)
@pytest.mark.parametrize("tile_rows", [0, 8], ids=["own_tiles", "tiles_of_8_rows"])
def test_dynamic_rows(tile_rows, bounds, depth, columns, bits, block, same_zero, rng):
    """As accurate as those of fixed rows, and nothing is written behind the last one."""
    target = current_target()
    if not sized_schedules(target.gpu.api):
        pytest.skip("apps start kernels of fixed sizes")
    if tile_rows:
        gpu = dataclasses.replace(target.gpu, registers=256, busy_items=1)
        chosen = choose_tile(bounds[1], 1, columns, 1, gpu)
        assert chosen.rows == min(tile_rows, bounds[1])
        target = dataclasses.replace(target, gpu=gpu)
    symbol = Symbol("n", *bounds)
    operation = product_of(Size.of(symbol), depth, columns, bits, block, same_zero=same_zero)
    calls = sized(operation, target)
    low, high = bounds
    for rows in sorted({low, 3, 8, 9, 11, high - 1, high} & {*range(low, high + 1)}):
        x = rng.standard_normal((rows, depth)).astype(np.float32)
        buffers = {operation.inputs[0]: x.reshape(-1)}
        made = run_calls(calls, target, buffers, sizes={symbol: rows})[operation.outputs[0]]
        want = expected(operation, x)
        limit = 2e-5 * np.abs(want).max()
        np.testing.assert_allclose(made.reshape(want.shape), want, rtol=0, atol=limit)


@pytest.mark.parametrize("factor", [1, 3])
@pytest.mark.parametrize(
    "bounds", [(1, 1), (1, 8), (1, 9), (1, 300), (3, 20), (8, 9), (9, 70)]
)
def test_one_kernel_runs(bounds, factor):
    """Whatever the rows: that for few of them, or that for many."""
    symbol = Symbol("n", *bounds)
    spans = spans_of(Size.of(symbol) * factor)
    assert len(spans) <= 2
    for number in range(bounds[0], bounds[1] + 1):
        (span,) = (s for s in spans if evaluate(s.runs, {symbol: number}))
        assert evaluate(span.count, {symbol: number}) == number * factor
