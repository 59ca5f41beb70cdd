"""Table lookups: every stored value, vectors of every length."""

import numpy as np
import pytest
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, A76, ARMV7, AVX2, AVX512, VBMI

from edgecomp.plan.elementwise import LookupTable
from edgecomp.plan.movement import Fill
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Halo, Order, Value
from edgecomp.schedules.cpu import lookup_table


@pytest.mark.parametrize("target", [AVX2, AVX512, VBMI, A53, A76, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("source", ["uint8", "int8"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
def test_lookup(target, source, dtype):
    rng = np.random.default_rng(8)
    table = (rng.standard_normal(256) * 60).clip(0, 127).astype(dtype)
    least = np.iinfo(source).min
    for shape, order in (
        ((3000,), None),
        ((1, 5, 3, 11), Order.NHWC),
        ((129,), None),
        ((7,), None),
        ((1,), None),
    ):
        order = order or Order.ROW_MAJOR
        halo = Halo(0, 1, 1, 0) if order is Order.NHWC else Halo()
        x, y = Value("x", shape, source, order), Value("y", shape, dtype, order, halo)
        count = int(np.prod(shape))
        array = (np.resize(rng.permutation(256), count) + least).astype(source).reshape(shape)
        operation = Operation(LookupTable(table), [x], [y])
        assert lookup_table.match(operation, target) == ""
        before = fill(y, np.zeros(shape, dtype), halo_fill=5)
        calls = lookup_table.emit(operation, target)
        result = run_calls(calls, target, {x: fill(x, array), y: before}, 3)[y]
        want = table[array.astype(int) - least]
        np.testing.assert_array_equal(read(y, result), want)
        np.testing.assert_array_equal(fill(y, want, halo_fill=5), result)


def test_refusals():
    x, y = Value("x", (4,), "int32"), Value("y", (4,), "uint8")
    table = LookupTable(np.zeros(256, np.uint8))
    assert lookup_table.match(Operation(table, [x], [y]), AVX2) == "table of int32"
    assert lookup_table.match(Operation(Fill(0), [], [y]), AVX2) == "not a table lookup"
    with pytest.raises(ValueError, match="256 entries"):
        lookup_table.emit(Operation(LookupTable(np.zeros(3, np.uint8)), [y], [y]), AVX2)
