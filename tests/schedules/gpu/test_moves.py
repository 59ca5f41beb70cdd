"""Copies, fills and tables on an OpenCL device."""

import numpy as np
import pytest
from helpers.gpu import compute, current_target
from helpers.kernels import fill, run_calls

from edgecomp.plan.elementwise import LookupTable
from edgecomp.plan.movement import Fill, FillHalo, StridedCopy
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Halo, Order, Value
from edgecomp.schedules.gpu import moves


def copy(shape, permutation, in_start, in_step, **more):
    rank = len(shape)
    return StridedCopy(
        shape=shape,
        permutation=permutation,
        in_start=in_start,
        in_step=in_step,
        out_start=(0,) * rank,
        out_step=(1,) * rank,
        **more,
    )


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int64", "bool"])
def test_transpose(dtype, rng):
    x = rng.integers(0, 2, (3, 4, 8)).astype(dtype)
    kind = copy((8, 3, 4), (1, 2, 0), (0, 0, 0), (1, 1, 1))
    operation = Operation(kind, [Value("x", x.shape, dtype)], [Value("y", (8, 3, 4), dtype)])
    np.testing.assert_array_equal(compute(moves, operation, [x]), x.transpose(2, 0, 1))


def test_slice_backwards(rng):
    x = rng.standard_normal((5, 9)).astype(np.float32)
    kind = copy((2, 4), (0, 1), (3, 8), (-2, -2))
    operation = Operation(
        kind, [Value("x", x.shape, "float32")], [Value("y", (2, 4), "float32")]
    )
    np.testing.assert_array_equal(compute(moves, operation, [x]), x[3::-2][:2, ::-2][:, :4])


@pytest.mark.parametrize("channels", [3, 8])
def test_into_an_image_with_a_halo(channels, rng):
    shape = (2, channels, 4, 5)
    x = rng.standard_normal(shape).astype(np.float32)
    kind = copy(shape, (0, 1, 2, 3), (0,) * 4, (1,) * 4)
    output = Value("y", shape, "float32", Order.NHWC, Halo(1, 2, 0, 1))
    operation = Operation(kind, [Value("x", shape, "float32")], [output])
    np.testing.assert_array_equal(compute(moves, operation, [x]), x)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("result", ["uint8", "float32"])
def test_table(dtype, result, rng):
    limits = np.iinfo(dtype)
    x = rng.integers(limits.min, limits.max + 1, (3, 37)).astype(dtype)
    table = rng.integers(0, 200, 256).astype(result)
    values = [Value("x", x.shape, dtype)], [Value("y", x.shape, result)]
    found = compute(moves, Operation(LookupTable(table), *values), [x])
    np.testing.assert_array_equal(found, table[x.astype(int) - limits.min])


def test_fill():
    output = Value("y", (3, 5), "float32")
    np.testing.assert_array_equal(compute(moves, Operation(Fill(2.5), [], [output])), 2.5)


@pytest.mark.parametrize("channels", [3, 8])
@pytest.mark.parametrize(
    "halo", [Halo(1, 0, 2, 3), Halo(0, 1, 0, 1), Halo(1, 0, 0, 0), Halo(0, 0, 2, 0)], ids=str
)
def test_halo(halo, channels, rng):
    output = Value("y", (2, channels, 4, 5), "uint8", Order.NHWC, halo)
    x = rng.integers(0, 256, output.shape).astype(np.uint8)
    calls = moves.emit(Operation(FillHalo(17), [], [output]), current_target())
    found = run_calls(calls, current_target(), {output: fill(output, x, 3)})[output]
    np.testing.assert_array_equal(found, fill(output, x, 17))


def test_no_halo():
    output = Value("y", (2, 3, 4, 5), "uint8", Order.NHWC)
    assert moves.emit(Operation(FillHalo(17), [], [output]), current_target()) == []
