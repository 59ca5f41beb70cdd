"""Elementwise chains against onnxruntime and numpy: operators, dtypes, broadcasting."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, ARMV7, AVX2, AVX512

from edgecomp.plan.operations import Elementwise, Fill, Operation, Step
from edgecomp.plan.values import Halo, Order, Value
from edgecomp.schedules.cpu import elementwise, steps

FLOATS = ("float32",)
INTEGERS = ("int32", "int64", "uint8")


def onnx_result(operator, arrays, attributes, dtype):
    """What onnxruntime computes for one node."""
    kinds = {
        name: onnx.helper.np_dtype_to_tensor_dtype(np.dtype(name))
        for name in {*(str(a.dtype) for a in arrays), dtype}
    }
    attributes = dict(attributes)
    extra = []
    if operator == "Clip":
        extra = [np.asarray(attributes.pop(k), arrays[0].dtype) for k in ("min", "max")]
    if operator == "Cast":
        attributes["to"] = kinds[dtype]
    names = [f"i{k}" for k in range(len(arrays) + len(extra))]
    node = onnx.helper.make_node(operator, names, ["o"], **attributes)
    inputs = [
        onnx.helper.make_tensor_value_info(n, kinds[str(a.dtype)], a.shape)
        for n, a in zip(names, arrays, strict=False)
    ]
    constants = [
        onnx.numpy_helper.from_array(a, n)
        for n, a in zip(names[len(arrays) :], extra, strict=True)
    ]
    output = onnx.helper.make_tensor_value_info("o", kinds[dtype], None)
    graph = onnx.helper.make_graph([node], "g", inputs, [output], constants)
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 22)], ir_version=10
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    feeds = dict(zip(names, arrays, strict=False))
    return session.run(None, feeds)[0]


def compute(step_list, arrays, dtype, target, orders=None, halos=None, constants=(), slices=3):
    """Run a chain; operand arrays broadcast."""
    orders = orders or [Order.ROW_MAJOR] * (len(arrays) + 1)
    halos = halos or [Halo()] * (len(arrays) + 1)
    values = [
        Value(
            f"x{k}",
            a.shape,
            str(a.dtype),
            orders[k],
            halos[k],
            constant=a if k in constants else None,
        )
        for k, a in enumerate(arrays)
    ]
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    output = Value("y", shape, dtype, orders[-1], halos[-1])
    operation = Operation(Elementwise(tuple(step_list)), values, [output])
    assert elementwise.match(operation, target) == ""
    calls = elementwise.emit(operation, target)
    start = fill(output, np.zeros(shape, dtype), halo_fill=1)
    buffers = {v: fill(v, a, 1) for v, a in zip(values, arrays, strict=True)}
    result = run_calls(calls, target, {**buffers, output: start}, slices)[output]
    got = read(output, result)
    np.testing.assert_array_equal(fill(output, got, halo_fill=1), result)  # the halo is kept
    return got


def assert_close(got, want):
    assert got.dtype == want.dtype
    if got.dtype.kind == "f":
        tolerance = 2e-3 if got.dtype == np.float16 else 4e-6
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=1e-6, equal_nan=True)
    else:
        np.testing.assert_array_equal(got, want)


def samples(dtype, shape, rng, kind=""):
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if np.dtype(dtype).kind in "iu":
        low = 0 if dtype.startswith("u") else -40
        array = rng.integers(low, 40, shape).astype(dtype)
        return np.where(array == 0, 3, array).astype(dtype) if kind == "nonzero" else array
    array = (rng.standard_normal(shape) * 3).astype(dtype)
    if kind == "positive":
        return np.abs(array) + np.asarray(0.1, dtype)
    if kind == "above one":
        return np.abs(array) + np.float32(1.01)
    if kind == "unit":
        return np.tanh(array)
    if kind == "special":
        flat = array.reshape(-1)
        flat[:6] = [np.inf, -np.inf, np.nan, 0.0, -0.0, 1.0]
    return array


ARITHMETIC = ("float32", "int32", "int64")
#: operator, operand dtypes, result dtype ("" the operands'), attributes, kind of samples
OPERATORS = [
    *[(o, 2, ARITHMETIC, "", {}, "nonzero") for o in ("Add", "Sub", "Mul", "Div")],
    ("Div", 2, ("uint8", "int8"), "", {}, "nonzero"),
    *[(o, 2, (*ARITHMETIC, "uint8", "int8"), "", {}, "special") for o in ("Max", "Min")],
    *[(o, 2, ("bool",), "bool", {}, "") for o in ("And", "Or", "Xor", "Equal")],
    ("Not", 1, ("bool",), "bool", {}, ""),
    *[
        (o, 2, (*ARITHMETIC, "uint8"), "bool", {}, "")
        for o in ("Less", "Greater", "LessOrEqual", "GreaterOrEqual")
    ],
    ("Equal", 2, ARITHMETIC, "bool", {}, ""),
    ("Mod", 2, ("int32", "int64", "uint8", "int8"), "", {"fmod": 0}, "nonzero"),
    ("Mod", 2, ("int32", "float32"), "", {"fmod": 1}, "nonzero"),
    ("Pow", 2, ("float32", "float64"), "", {}, "positive"),
    ("Pow", 2, ("int32", "int64"), "", {}, "small"),
    *[
        (o, 2, ("uint8", "int32", "int64"), "", {}, "")
        for o in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")
    ],
    ("BitwiseNot", 1, ("uint8", "int32"), "", {}, ""),
    *[
        ("BitShift", 2, ("uint8", "uint32", "uint64"), "", {"direction": d}, "small")
        for d in ("LEFT", "RIGHT")
    ],
    *[
        (o, 1, ("float32", "float64"), "", {}, "")
        for o in (
            "Exp",
            "Sigmoid",
            "Tanh",
            "Erf",
            "Abs",
            "Neg",
            "Floor",
            "Ceil",
            "Round",
            "Sin",
            "Cos",
            "Sign",
            "Reciprocal",
            "Relu",
        )
    ],
    *[
        (o, 1, ("float32",), "", {}, "special")
        for o in (
            "Softplus",
            "Elu",
            "Selu",
            "LeakyRelu",
            "HardSigmoid",
            "ThresholdedRelu",
            "Relu",
            "Sigmoid",
            "Tanh",
            "Exp",
            "Abs",
            "Sign",
        )
    ],
    *[
        (o, 1, ("float32",), "", {}, "")
        for o in (
            "Softsign",
            "HardSwish",
            "Mish",
            "Celu",
            "Tan",
            "Atan",
            "Sinh",
            "Cosh",
            "Asinh",
        )
    ],
    *[(o, 1, ("float32", "float64"), "", {}, "positive") for o in ("Log", "Sqrt")],
    *[(o, 1, ("float32",), "", {}, "unit") for o in ("Asin", "Acos", "Atanh")],
    ("Acosh", 1, ("float32",), "", {}, "above one"),
    ("Gelu", 1, ("float32",), "", {"approximate": "none"}, ""),
    ("Gelu", 1, ("float32",), "", {"approximate": "tanh"}, ""),
    ("LeakyRelu", 1, ("float32",), "", {"alpha": 0.3}, ""),
    ("Elu", 1, ("float32",), "", {"alpha": 0.5}, ""),
    ("Celu", 1, ("float32",), "", {"alpha": 2.0}, ""),
    ("HardSigmoid", 1, ("float32",), "", {"alpha": 0.3, "beta": 0.1}, ""),
    ("Shrink", 1, ("float32",), "", {"bias": 0.4, "lambd": 1.1}, ""),
    ("Shrink", 1, ("int32", "int64", "int8"), "", {"bias": 1.5, "lambd": 0.5}, ""),
    ("Shrink", 1, ("uint8",), "", {"bias": 1.0, "lambd": 2.5}, ""),
    *[(o, 1, ("int32", "int64", "int8"), "", {}, "") for o in ("Abs", "Neg", "Sign")],
    ("Clip", 1, ("float32", "int32", "uint8", "int64"), "", {"min": 2, "max": 20}, ""),
    ("IsNaN", 1, ("float32", "float64"), "bool", {}, "special"),
    ("IsInf", 1, ("float32",), "bool", {}, "special"),
    ("IsInf", 1, ("float32",), "bool", {"detect_negative": 0}, "special"),
    ("IsInf", 1, ("float32",), "bool", {"detect_positive": 0}, "special"),
    ("PRelu", 2, ("float32",), "", {}, ""),
    *[
        ("Cast", 1, (s,), t, {}, "")
        for s, t in [
            ("float32", "int32"),
            ("float32", "int64"),
            ("float32", "bool"),
            ("int32", "float32"),
            ("int64", "float32"),
            ("uint8", "float32"),
            ("int8", "float32"),
            ("bool", "float32"),
            ("int64", "int32"),
            ("int32", "uint8"),
            ("bool", "int64"),
            ("float64", "float32"),
            ("float32", "float64"),
            ("int64", "bool"),
            ("float32", "int8"),
            ("float16", "float32"),
            ("float32", "float16"),
            ("int32", "int64"),
        ]
    ],
    ("Add", 2, ("float16",), "", {}, ""),
    ("Sigmoid", 1, ("float16",), "", {}, ""),
]
CASES = [
    pytest.param(
        operator,
        count,
        dtype,
        result or dtype,
        attributes,
        kind,
        id="-".join([operator, dtype, result, *map(str, attributes.values()), kind]),
    )
    for operator, count, dtypes, result, attributes, kind in OPERATORS
    for dtype in dtypes
]


def _operands(operator, count, dtype, kind, shape=(37, 5)):
    rng = np.random.default_rng(len(operator))
    if kind == "small":
        return [rng.integers(0, 4, shape).astype(dtype) for _ in range(count)]
    return [samples(dtype, shape, rng, kind) for _ in range(count)]


@pytest.mark.parametrize(("operator", "count", "dtype", "result", "attributes", "kind"), CASES)
def test_operator_matches_onnxruntime(operator, count, dtype, result, attributes, kind):
    arrays = _operands(operator, count, dtype, kind)
    try:
        want = onnx_result(operator, arrays, attributes, result)
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        want = numpy_result(operator, arrays, attributes)
    step = Step(operator, tuple(range(count)), result, tuple(sorted(attributes.items())))
    assert_close(compute([step], arrays, result, AVX2), want)


def numpy_result(operator, arrays, attributes):
    """What onnxruntime's CPU provider lacks."""
    functions = {
        "Div": lambda a, b: (
            np.sign(a.astype(int) * b) * (np.abs(a.astype(int)) // np.abs(b.astype(int)))
        ).astype(a.dtype),
        "Max": np.maximum,
        "Min": np.minimum,
        "Abs": np.abs,
        "Neg": np.negative,
        "Sign": np.sign,
        "Pow": np.power,
        "Erf": np.vectorize(__import__("math").erf),
        "Relu": lambda x: np.maximum(x, 0),
        "Floor": np.floor,
        "Add": np.add,
        "Less": np.less,
        "Greater": np.greater,
        "LessOrEqual": np.less_equal,
        "GreaterOrEqual": np.greater_equal,
        "Equal": np.equal,
        "Sigmoid": lambda x: 1 / (1 + np.exp(-x.astype(float))),
        "BitShift": lambda a, b: (
            np.left_shift(a, b) if attributes["direction"] == "LEFT" else np.right_shift(a, b)
        ),
        "IsNaN": np.isnan,
    }
    result = functions[operator](*arrays)
    return result if result.dtype == bool else result.astype(arrays[0].dtype)


@pytest.mark.parametrize("target", [AVX512, A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize(
    ("operator", "dtype", "result"),
    [
        ("Add", "float32", "float32"),
        ("Mul", "int64", "int64"),
        ("Div", "int32", "int32"),
        ("Less", "float32", "bool"),
        ("Cast", "float32", "int64"),
        ("Cast", "int64", "float32"),
        ("Pow", "float32", "float32"),
        ("And", "bool", "bool"),
        ("Asin", "float32", "float32"),
        ("Add", "float64", "float64"),
        ("Cast", "float16", "float32"),
        ("Cast", "float32", "float16"),
    ],
)
def test_operator_on_other_targets(operator, dtype, result, target):
    count = 1 if operator in ("Cast", "Asin") else 2
    kind = {"Pow": "positive", "Asin": "unit", "Div": "nonzero"}.get(operator, "")
    arrays = _operands(operator, count, dtype, kind)
    want = onnx_result(operator, arrays, {}, result)
    step = Step(operator, tuple(range(count)), result)
    assert_close(compute([step], arrays, result, target), want)


def test_every_step_is_tested():
    aliases = {"Sum", "Mean", "Identity", "Silu", "Swish", "Where"}  # tested below
    assert set(steps.STEPS) == {case[0] for case in OPERATORS} | aliases


@pytest.mark.parametrize("target", [AVX2, A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_only_zeros_are_false(dtype, target):
    x = np.resize(np.array([np.nan, -np.nan, 0, -0.0, 6e-8, -np.inf, 0.5], dtype), 37)
    got = compute([Step("Cast", (0,), "bool")], [x], "bool", target)
    np.testing.assert_array_equal(got, onnx_result("Cast", [x], {}, "bool"))
    np.testing.assert_array_equal(got, x.astype(bool))


@pytest.mark.parametrize(
    ("operator", "function", "dtype"),
    [
        ("Equal", np.equal, "float32"),
        ("Equal", np.equal, "float64"),
        ("Less", np.less, "float32"),
    ],
)
def test_no_comparison_with_nan_holds(operator, function, dtype):
    """Nor is its negation another comparison; Not(Equal(x, x)) asks for NaN."""
    a = np.resize(np.array([np.nan, 1, np.nan, 2, 3, -1], dtype), 37)
    b = np.resize(np.array([np.nan, 1, 4, np.nan, 2], dtype), 37)
    for chain, want in (
        ([(operator, 0, 1)], function(a, b)),
        ([(operator, 0, 1), ("Not", 2)], ~function(a, b)),
        ([(operator, 0, 0), ("Not", 2)], ~function(a, a)),
        ([(operator, 0, 1), (operator, 1, 0), ("Xor", 2, 3)], function(a, b) ^ function(b, a)),
        (
            [(operator, 0, 1), (operator, 1, 0), ("Equal", 2, 3)],
            function(a, b) == function(b, a),
        ),
    ):
        steps_of = [Step(name, tuple(operands), "bool") for name, *operands in chain]
        np.testing.assert_array_equal(compute(steps_of, [a, b], "bool", AVX2), want)


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
