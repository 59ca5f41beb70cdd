"""Chains of several elementwise steps: operands, broadcasting, orders, refusals."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from helpers.elementwise import assert_close, compute, onnx_result, samples
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, AVX2, AVX512

from edgecomp.plan.elementwise import Elementwise, Step
from edgecomp.plan.movement import Fill
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Halo, Order, Value
from edgecomp.schedules.cpu import elementwise


@pytest.mark.parametrize("target", [AVX2, AVX512, A53], ids=lambda t: t.name)
def test_chain(target, rng):
    """sigmoid(x) * x + residual, then a mask, in one kernel; one operand is a constant scalar."""
    x = rng.standard_normal((2, 8, 5, 7)).astype(np.float32)
    residual = rng.standard_normal((8, 1, 1)).astype(np.float32)
    limit = np.float32(0.25).reshape(())
    chain = [
        Step("Sigmoid", (0,), "float32"),
        Step("Mul", (3, 0), "float32"),
        Step("Add", (4, 1), "float32"),
        Step("Less", (5, 2), "bool"),
        Step("Where", (6, 2, 5), "float32"),
    ]
    got = compute(chain, [x, residual, limit], "float32", target, constants={2})
    total = x / (1 + np.exp(-x)) + residual
    assert_close(got, np.where(total < limit, limit, total))


@pytest.mark.parametrize(
    "step",
    [
        Step("Sum", (0, 1, 2), "float32"),
        Step("Mean", (0, 1, 2), "float32"),
        Step("Max", (0, 1, 2), "float32"),
        Step("Min", (2, 1, 0), "float32"),
    ],
    ids=lambda s: s.operator,
)
def test_variadic(step, rng):
    arrays = [rng.standard_normal((3, 50)).astype(np.float32) for _ in range(3)]
    want = onnx_result(step.operator, [arrays[k] for k in step.operands], {}, "float32")
    assert_close(compute([step], arrays, "float32", AVX2), want)


def test_swish_and_silu_and_identity(rng):
    x = rng.standard_normal(100).astype(np.float32)
    swish = Step("Swish", (0,), "float32", (("alpha", 1.5),))
    assert_close(compute([swish], [x], "float32", AVX2), x / (1 + np.exp(-1.5 * x)))
    assert_close(
        compute([Step("Silu", (0,), "float32")], [x], "float32", AVX2), x / (1 + np.exp(-x))
    )
    assert_close(compute([Step("Identity", (0,), "float32")], [x], "float32", AVX2), x)


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0, 4.0, -1.0, 0.5, 0.0, -2.5])
def test_constant_exponent(exponent, rng):
    x = samples("float32", (200,), rng, "positive")
    power = np.asarray([exponent], np.float32)
    got = compute([Step("Pow", (0, 1), "float32")], [x, power], "float32", AVX2, constants={1})
    assert_close(got, np.power(x.astype(float), exponent).astype(np.float32))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("operator", ["Div", "Mod"])
def test_division_that_would_trap(operator, dtype):
    least = np.iinfo(dtype).min
    a = np.array([least, 7, -7, 5, least, np.iinfo(dtype).max], dtype)
    b = np.array([-1, 0, -2, -1, 1, 1], dtype)
    got = compute([Step(operator, (0, 1), dtype)], [a, b], dtype, AVX2)
    want = (
        [least, 3, -5, least, np.iinfo(dtype).max] if operator == "Div" else [0, -1, 0, 0, 0]
    )
    assert list(got[[0, 2, 3, 4, 5]]) == want


def test_negative_integer_powers():
    base = np.array([1, -1, -1, 2, 0, 5], np.int32)
    power = np.array([-3, -3, -2, -1, 0, 13], np.int32)
    got = compute([Step("Pow", (0, 1), "int32")], [base, power], "int32", AVX2)
    assert list(got) == [1, -1, 1, 0, 1, 5**13]


def test_one_operand_twice(rng):
    x = rng.standard_normal((4, 9)).astype(np.float32)
    value, output = Value("x", x.shape, "float32"), Value("y", x.shape, "float32")
    operation = Operation(
        Elementwise((Step("Mul", (0, 1), "float32"),)), [value, value], [output]
    )
    (call,) = elementwise.emit(operation, AVX2)
    assert call.arguments == (value, output)
    np.testing.assert_array_equal(
        read(output, run_calls([call], AVX2, {value: fill(value, x)})[output]), x * x
    )


@st.composite
def broadcasts(draw):
    rank = draw(st.integers(1, 4))
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=rank, max_size=rank)))
    operands = []
    for _ in range(2):
        kept = draw(st.integers(0, rank))
        own = tuple(size if draw(st.booleans()) else 1 for size in shape[rank - kept :])
        operands.append(own)
    operands.append(shape)
    orders, halos = [], []
    for own in (*operands, shape):
        nhwc = len(own) == 4 and draw(st.booleans())
        orders.append(Order.NHWC if nhwc else Order.ROW_MAJOR)
        halos.append(Halo(*(draw(st.integers(0, 2)) for _ in range(4))) if nhwc else Halo())
    return operands, orders, halos


@hypothesis.given(broadcasts(), st.sampled_from([AVX2, AVX512]))
def test_any_broadcast_in_any_order(case, target):
    shapes, orders, halos = case
    rng = np.random.default_rng(0)
    a, b, c = (rng.integers(-50, 50, s).astype(np.int32) for s in shapes)
    chain = [Step("Mul", (0, 1), "int32"), Step("Sub", (3, 2), "int32")]
    got = compute(chain, [a, b, c], "int32", target, orders, halos, slices=2)
    np.testing.assert_array_equal(got, a * b - c)


def test_refusals():
    x = Value("x", (4,), "float32")
    y = Value("y", (4,), "float32")
    assert elementwise.match(Operation(Fill(0), [], [y]), AVX2) == "not an elementwise chain"

    def reason(step, values):
        return elementwise.match(Operation(Elementwise((step,)), values, [y]), AVX2)

    assert reason(Step("Einsum", (0,), "float32"), [x]) == "operator Einsum"
    assert reason(Step("Exp", (0,), "int32"), [Value("i", (4,), "int32")]) == "Exp of int32"
    assert "float8" in reason(Step("Exp", (0,), "float8_e5m2"), [x])
    many = [Value(f"x{k}", (4,), "float32") for k in range(12)]
    assert reason(Step("Sum", tuple(range(12)), "float32"), many) == "12 inputs"


def test_long_chain_compiles_in_time_proportional_to_its_length(rng):
    """Each step uses the one before twice: put back into each other they would be 2^40 parts."""
    x = rng.standard_normal(300).astype(np.float32)
    chain = []
    for last in range(40):
        if last % 2:
            chain.append(Step("Mul", (last, last), "float32"))
        else:
            chain.append(
                Step("Sub", (last, 0), "float32")
                if last % 4
                else Step("Tanh", (last,), "float32")
            )
    want = [x.astype(np.float64)]
    for step in chain:
        operands = [want[k] for k in step.operands]
        want.append(
            {"Mul": np.multiply, "Sub": np.subtract, "Tanh": np.tanh}[step.operator](*operands)
        )
    got = compute(chain, [x], "float32", AVX2)
    np.testing.assert_allclose(got, want[-1], rtol=1e-3, atol=1e-4)
