"""Single elementwise steps against onnxruntime and numpy: operators, dtypes, NaN."""

import numpy as np
import onnxruntime
import pytest
from helpers.elementwise import assert_close, compute, onnx_result, samples
from helpers.targets import A53, ARMV7, AVX2, AVX512

from edgecomp.plan.elementwise import Step
from edgecomp.schedules.cpu import steps

FLOATS = ("float32",)
INTEGERS = ("int32", "int64", "uint8")
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
    aliases = {"Sum", "Mean", "Identity", "Silu", "Swish", "Where"}  # tested in chains
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
