import numpy as np
import pytest

from edgecomp.lower.fuse_tables import fuse_tables
from edgecomp.plan.elementwise import LookupTable, QuantizedAdd, QuantizedMultiply
from edgecomp.plan.finish import IntegerAdd, Requantize
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.values import Value

SHAPE = (1, 3, 4, 5)


def value(name, dtype="uint8", shape=SHAPE):
    return Value(name, shape, dtype)


def requantize(scale, zero, low=0, high=255):
    return Requantize(np.array([scale], np.float32), zero, low, high)


def table(rng, dtype="uint8"):
    limits = np.iinfo(dtype)
    return LookupTable(rng.integers(limits.min, limits.max + 1, 256).astype(dtype))


def program(operations, outputs):
    return Program("test", operations, [operations[0].inputs[0]], outputs, ["y"])


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_product_with_a_function_of_itself(rng, dtype):
    low = int(np.iinfo(dtype).min)
    x, s, y = (value(name, dtype) for name in "xsy")
    sigmoid = table(rng, dtype)
    kind = QuantizedMultiply(low + 120, low + 3, requantize(0.0071, low + 20, low, low + 250))
    made = program(
        [
            Operation(sigmoid, [x], [s], ("sigmoid",)),
            Operation(kind, [x, s], [y], ("mul",)),
        ],
        [y],
    )
    fuse_tables(made)
    (operation,) = made.operations
    assert operation.inputs == [x]
    assert operation.nodes == ("sigmoid", "mul")
    stored = np.arange(low, low + 256)
    total = (stored - kind.zero_a) * (sigmoid.table.astype(int) - kind.zero_b)
    steps = np.rint(total.astype(np.float32) * np.float32(0.0071)) + low + 20
    np.testing.assert_array_equal(operation.kind.table, np.clip(steps, low, low + 250))


def test_chain_and_sum(rng):
    x, a, b, y = (value(name) for name in "xaby")
    first, second = table(rng), table(rng)
    add = IntegerAdd(1 << 14, 3 << 12, 7, 9, requantize(2.0**-14, 11))
    made = program(
        [
            Operation(first, [x], [a]),
            Operation(second, [a], [b]),
            Operation(QuantizedAdd(add), [b, x], [y]),
        ],
        [y],
    )
    fuse_tables(made)
    (operation,) = made.operations
    stored = np.arange(256)
    both = second.table[first.table].astype(int)
    total = (both - 7) * (1 << 14) + (stored - 9) * (3 << 12)
    want = np.clip(np.rint(total * 2.0**-14) + 11, 0, 255)
    np.testing.assert_array_equal(operation.kind.table, want)


def test_what_others_read_stays(rng):
    x, s, y = (value(name) for name in "xsy")
    kind = QuantizedMultiply(0, 0, requantize(0.004, 0))
    made = program(
        [Operation(table(rng), [x], [s], ("s",)), Operation(kind, [s, x], [y], ("m",))],
        [y, s],
    )
    fuse_tables(made)
    assert [type(o.kind) for o in made.operations] == [LookupTable, LookupTable]
    assert [o.inputs for o in made.operations] == [[x], [x]]


def test_two_values_or_shapes_stay(rng):
    x, s, y, z = (value(name) for name in "xsyz")
    row = value("row", shape=(1, 3, 1, 1))
    kind = QuantizedMultiply(0, 0, requantize(0.004, 0))
    made = program(
        [
            Operation(table(rng), [x], [s]),
            Operation(kind, [s, z], [y]),
            Operation(kind, [y, row], [z]),
        ],
        [z],
    )
    fuse_tables(made)
    assert [type(o.kind) for o in made.operations] == [
        LookupTable,
        QuantizedMultiply,
        QuantizedMultiply,
    ]
