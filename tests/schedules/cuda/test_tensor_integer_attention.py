"""Attention of 8-bit integers on tensor cores: whole steps of exponentials, exact sums of them."""

import dataclasses

import numpy as np
import pytest
from helpers.cuda import run_cuda_calls
from helpers.heads import heads_of, split
from helpers.kernels import fill, read

from edgecomp.device.load import load_target
from edgecomp.plan.attention import IntegerAttention
from edgecomp.plan.elementwise import Step
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Quantization, Value
from edgecomp.schedules.cuda import tensor_attention
from edgecomp.schedules.cuda.tensor_attention_cut import cut_of

TARGET = load_target("cuda-sm90")
ORIN = load_target("jetson-orin")
#: Whose fragments have no documented order.
VOLTA = load_target("jetson-xavier")
FEW, FEW_VOLTA = (
    dataclasses.replace(target, gpu=dataclasses.replace(target.gpu, busy_items=1))
    for target in (TARGET, VOLTA)
)
#: Of exponentials. Powers of two are never half-way between steps of the second.
USUAL = Quantization(float(np.float32(1 / 255)), 0)
POWERS = Quantization(float(np.float32(1 / 255.5)), 0)


def without_features(target):
    """The same device without any instruction of its own."""
    return dataclasses.replace(target, gpu=dataclasses.replace(target.gpu, features=()))


@dataclasses.dataclass
class Case:
    """Sizes, types and zero points of q, k and v."""

    batch: int = 1
    heads: int = 2
    rows: int = 16
    keys: int = 32
    depth: int = 32
    columns: int = 32
    dtype: str = "uint8"
    zeros: tuple = (131, 128, 128)
    alpha: float = float(np.float32(np.log(2)))
    weights: Quantization = POWERS
    output: tuple = ("float32", None)

    def operation(self, steps=(), extras=()):
        """With what comes before and behind it quantized, or not."""
        heads = self.heads
        shapes = {
            "q": (self.rows, self.depth),
            "k": (self.keys, self.depth),
            "v": (self.keys, self.columns),
            "y": (self.rows, self.columns),
        }
        values = [
            Value(name, (self.batch, count, heads * each), self.dtype)
            for name, (count, each) in shapes.items()
        ]
        for value, zero in zip(values, self.zeros, strict=False):
            value.quantization = Quantization(0.5, zero)
        values[3].dtype, values[3].quantization = self.output
        q, k, v, y = (heads_of(value, heads) for value in values)
        fields = {"alpha": self.alpha, "beta": 0.01, "weights": self.weights, "steps": steps}
        kind = IntegerAttention(q=q, k=k, v=v, y=y, **fields)
        return Operation(kind, [*values[:3], *extras], values[3:])


def run(operation, target, arrays):
    assert tensor_attention.match(operation, target) == ""
    (call,) = tensor_attention.emit(operation, target)
    values = [value for value in operation.inputs if value.constant is None]
    buffers = {v: fill(v, array) for v, array in zip(values, arrays, strict=True)}
    output = operation.output
    buffers[output] = fill(output, np.zeros(output.shape, output.stored))
    return read(output, run_cuda_calls([call], buffers)[output])


def expected(case, arrays, changed=lambda scores: scores):
    """What the ONNX operators say, exponentials in float64."""
    centred = [
        split(array, case.heads, np.int64) - zero
        for array, zero in zip(arrays, case.zeros, strict=False)
    ]
    q, k, v = centred
    scores = changed((q @ k.swapaxes(-1, -2)).astype(np.float32) * np.float32(case.alpha))
    scores = scores.astype(np.float64)
    with np.errstate(invalid="ignore"):
        exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    steps = np.rint(np.nan_to_num(exponentials) / np.float32(case.weights.scale))
    sums = np.clip(steps, 0, 255).astype(np.int64) @ v
    y = sums.astype(np.float32) * np.float32(0.01)
    y = y / exponentials.sum(axis=-1, keepdims=True)
    y = y.swapaxes(1, 2).reshape(case.batch, case.rows, -1)
    dtype, meaning = case.output
    if dtype == "float32":
        return y
    limits = np.iinfo(dtype)
    return np.clip(
        np.rint(np.nan_to_num(y / meaning.scale)) + meaning.zero_point, limits.min, limits.max
    )


def near_zero(case, rng):
    """q and k of few steps, so that several scores of a row are near the largest."""
    near = [
        rng.integers(-1, 2, (case.batch, count, case.heads * case.depth)) + zero
        for count, zero in zip((case.rows, case.keys), case.zeros, strict=False)
    ]
    limits = np.iinfo(case.dtype)
    shape = (case.batch, case.keys, case.heads * case.columns)
    far = rng.integers(limits.min, limits.max + 1, shape)
    clipped = [np.clip(array, limits.min, limits.max) for array in near]
    return [array.astype(case.dtype) for array in (*clipped, far)]


#: Whole tiles; tails of all sizes; several rounds; zero points that sums are made for.
CASES = [
    Case(),
    Case(batch=2, heads=3, rows=13, keys=21, depth=10, columns=12),
    Case(rows=18, keys=150, depth=9, columns=72, zeros=(128, 128, 128)),
    Case(heads=1, rows=40, keys=70, depth=33, columns=9, zeros=(0, 77, 201)),
    Case(rows=1, keys=300, dtype="int8", zeros=(5, 0, 0)),
    Case(keys=70, dtype="int8", zeros=(-128, 3, -7)),
    Case(output=("uint8", Quantization(0.031, 119)), keys=45),
    Case(output=("int8", Quantization(0.031, -9)), dtype="int8", zeros=(9, 0, 0), keys=45),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_powers_of_two(case, rng):
    """Whose steps are certain: all that is integer is bit by bit."""
    arrays = near_zero(case, rng)
    for target in (TARGET, FEW, ORIN, VOLTA, FEW_VOLTA):
        found, want = run(case.operation(), target, arrays), expected(case, arrays)
        if case.output[0] == "float32":
            np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-6)
        else:
            np.testing.assert_array_equal(found, want)


def test_usual_scores(rng):
    """Of any numbers: here and there one step of an exponential is the other neighbour."""
    case = Case(rows=33, keys=77, depth=48, columns=24, alpha=3e-6, weights=USUAL)
    arrays = [
        rng.integers(0, 256, (1, count, 2 * each)).astype(np.uint8)
        for count, each in ((33, 48), (77, 48), (77, 24))
    ]
    found, want = run(case.operation(), TARGET, arrays), expected(case, arrays)
    assert np.abs(want).max() > 0.3
    assert np.mean(np.abs(found - want) < 1e-5 * np.abs(want).max()) > 0.98
    np.testing.assert_allclose(found, want, rtol=0, atol=0.01 * 128 / 50)


@pytest.mark.parametrize("output", [("float32", None), ("uint8", Quantization(0.05, 100))])
def test_steps_and_masks(output, rng):
    """A scale and a mask; all of a warp's keys, and the whole of a row, are masked."""
    case = Case(rows=19, keys=90, depth=16, columns=16, alpha=1.0, output=output)
    factor = Value("factor", (), "float32", constant=np.array(np.log(2), np.float32))
    mask = Value("mask", (1, 1, 19, 90), "float32")
    masks = np.zeros(mask.shape, np.float32)
    masks[..., 2::3] = -np.inf
    masks[..., :40] = -np.inf
    masks[0, 0, 3] = -np.inf
    steps = (Step("Mul", (0, 1), "float32"), Step("Add", (3, 2), "float32"))
    operation = case.operation(steps, (factor, mask))
    arrays = near_zero(case, rng)

    def changed(scores):
        return scores * factor.constant + masks

    want = expected(case, arrays, changed)
    for target in (TARGET, FEW, VOLTA, FEW_VOLTA):
        found = run(operation, target, [*arrays, masks])
        np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-6)


def test_warps_share_keys():
    for target, few, slices in ((TARGET, FEW, {1, 2, 8}), (VOLTA, FEW_VOLTA, {2, 4})):
        cuts = {cut_of(case.operation(), target).slices for case in CASES}
        assert cuts >= slices
        assert {cut_of(case.operation(), few).down for case in CASES} == {1, 2}


@pytest.mark.parametrize(
    ("case", "target", "reason"),
    [
        (Case(), without_features(VOLTA), "no int8_mma or int8_wmma"),
        (Case(weights=Quantization(1 / 255, 3)), TARGET, "exponentials with a zero point"),
        (Case(output=("uint8", None)), TARGET, "results without a scale"),
        (Case(keys=40000), TARGET, "could overflow"),
        (Case(depth=2048), TARGET, "more than registers hold"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_refusals(case, target, reason):
    assert reason in tensor_attention.match(case.operation(), target)
