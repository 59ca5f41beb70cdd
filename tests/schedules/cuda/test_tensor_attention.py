"""Attention on tensor cores, against float64 of the same rounded numbers."""

import dataclasses
import re

import ml_dtypes
import numpy as np
import pytest
from helpers.cuda import run_cuda_calls
from helpers.heads import heads_of, split
from helpers.kernels import fill, read

from edgecomp.device.load import load_target
from edgecomp.plan.attention import Attention
from edgecomp.plan.elementwise import Step
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Value
from edgecomp.schedules.cuda import tensor_attention
from edgecomp.schedules.cuda.tensor_attention_cut import AttentionCut, cut_of
from edgecomp.schedules.cuda.tensor_tile import INSTRUCTIONS
from edgecomp.schedules.cuda.text import kernel_text

TARGET = dataclasses.replace(load_target("cuda-sm90"), tf32=True)
#: Whose rows of sums and of x are other threads'.
VOLTA = load_target("jetson-xavier")
ORIN = dataclasses.replace(load_target("jetson-orin"), tf32=True)
#: Weights are rounded to the type of the values: half of a last bit of each.
TOLERANCE = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2**-10}


def busy_with(count, target=TARGET):
    return dataclasses.replace(target, gpu=dataclasses.replace(target.gpu, busy_items=count))


def rounded(x, dtype):
    """As the instruction takes it."""
    if dtype != "float32":
        return x.astype(getattr(ml_dtypes, dtype, dtype)).astype(np.float32)
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + np.uint32(1 << 12)) & np.uint32(0xFFFFE000)).view(np.float32)


def attention_of(batch, heads, rows, keys, depth, columns, dtype, *, steps=(), extras=()):
    shapes = ((rows, depth), (keys, depth), (keys, columns), (rows, columns))
    storage = "" if dtype == "float32" else dtype
    values = [
        Value(name, (batch, count, heads * each), "float32", storage=storage)
        for name, (count, each) in zip("qkvy", shapes, strict=True)
    ]
    values[3].storage = ""
    q, k, v, y = (heads_of(value, heads) for value in values)
    kind = Attention(q=q, k=k, v=v, y=y, alpha=0.25, steps=steps)
    return Operation(kind, [*values[:3], *extras], [values[3]])


def check(operation, target, dtype, heads, rng, masks=None):
    assert tensor_attention.match(operation, target) == ""
    q, k, v = (
        rounded(rng.standard_normal(value.shape).astype(np.float32), dtype)
        for value in operation.inputs[:3]
    )
    given = dict(zip(operation.inputs, (q, k, v), strict=False))
    if masks is not None:
        given[operation.inputs[-1]] = masks
    (call,) = tensor_attention.emit(operation, target)
    output = operation.output
    buffers = {value: fill(value, array) for value, array in given.items()}
    buffers[output] = fill(output, np.zeros(output.shape, np.float32))
    found = read(output, run_cuda_calls([call], buffers)[output])
    q, k, v = (split(array, heads) for array in (q, k, v))
    scores = q @ k.swapaxes(-1, -2) * 0.25
    if masks is not None:
        scores = scores * 0.5 + masks
    with np.errstate(invalid="ignore"):
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    want = (weights / weights.sum(axis=-1, keepdims=True)) @ v
    want = want.swapaxes(1, 2).reshape(found.shape)
    np.testing.assert_allclose(found, want, rtol=0, atol=TOLERANCE[dtype] * np.abs(v).max())


#: Whole tiles; tails of rows, keys, depth and columns; words of no length; many columns; several rounds.
CASES = [
    (1, 2, 32, 64, 16, 16),
    (2, 3, 13, 21, 10, 12),
    (1, 2, 18, 150, 8, 72),
    (2, 1, 40, 70, 33, 9),
    (1, 2, 16, 256, 32, 32),
]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_attention(case, dtype, rng):
    for target in (TARGET, busy_with(1)):
        check(attention_of(*case, dtype), target, dtype, case[1], rng)


@pytest.mark.parametrize("case", [*CASES, (1, 1, 70, 45, 8, 8)], ids=str)
def test_attention_of_quads(case, rng):
    for target in (VOLTA, busy_with(1, VOLTA)):
        check(attention_of(*case, "float16"), target, "float16", case[1], rng)


@pytest.mark.parametrize(
    "target",
    [TARGET, busy_with(1), ORIN, VOLTA, busy_with(1, VOLTA)],
    ids=["most", "fewest", "orin", "volta", "fewest_volta"],
)
def test_steps_and_masks(target, rng):
    """Whole shares of keys are masked, and the whole of a row, which is then no number."""
    batch, rows, keys = 2, 19, 90
    steps = (Step("Mul", (0, 1), "float32"), Step("Add", (3, 2), "float32"))
    half = Value("half", (), "float32", constant=np.array(0.5, np.float32))
    mask = Value("mask", (batch, 1, rows, keys), "float32")
    masks = rng.standard_normal(mask.shape).astype(np.float32)
    masks[0, 0, :, :40] = -np.inf
    masks[1, 0, :, 17:] = -np.inf
    masks[1, 0, 3] = -np.inf
    operation = attention_of(
        batch, 2, rows, keys, 16, 16, "float16", steps=steps, extras=(half, mask)
    )
    check(operation, target, "float16", 2, rng, masks)


def test_large_scores(rng):
    """Each round has larger ones than those before."""
    keys = Value("up", (1, 1, 1, 200), "float32")
    steps = (Step("Mul", (0, 1), "float32"), Step("Add", (3, 2), "float32"))
    half = Value("half", (), "float32", constant=np.array(0.5, np.float32))
    operation = attention_of(1, 1, 16, 200, 8, 8, "float16", steps=steps, extras=(half, keys))
    ups = np.linspace(-5000, 5000, 200, dtype=np.float32).reshape(keys.shape)
    for target in (TARGET, busy_with(1), VOLTA, busy_with(1, VOLTA)):
        check(operation, target, "float16", 1, rng, ups)


@pytest.mark.parametrize(
    ("shape", "dtype", "target", "reason"),
    [
        ((1, 1, 16, 16, 16, 16), "float32", load_target("cuda-sm90"), "tf32 is not allowed"),
        ((1, 1, 16, 16, 16, 16), "bfloat16", VOLTA, "no bf16_mma"),
        ((1, 1, 16, 16, 128, 128), "float16", VOLTA, "more than registers hold"),
        ((1, 1, 4, 16, 16, 16), "float16", TARGET, "only 4 rows"),
        ((1, 1, 16, 16, 4, 16), "float16", TARGET, "4 elements of K"),
        ((1, 1, 16, 16, 512, 512), "float16", TARGET, "more than registers hold"),
    ],
)
def test_refusals(shape, dtype, target, reason):
    assert reason in tensor_attention.match(attention_of(*shape, dtype), target)


def test_values_of_two_types_are_refused():
    operation = attention_of(1, 1, 16, 16, 16, 16, "float16")
    operation.inputs[2].storage = ""
    assert "a product of float16 and float32" in tensor_attention.match(operation, TARGET)


@pytest.mark.parametrize("widths", [(8, 8), (16, 16), (32, 32), (64, 64), (8, 96)], ids=str)
@pytest.mark.parametrize("target", [TARGET, VOLTA], ids=lambda target: target.name)
def test_shared_memory_holds_what_warps_join(widths, target):
    """All arrays of a kernel whose few tiles share many keys."""
    operation = attention_of(1, 1, 40, 5000, *widths, "float16")
    assert cut_of(operation, target).slices > 1
    (call,) = tensor_attention.emit(operation, target)
    arrays = re.findall(
        r"__shared__ (\w+|ec::vec<\w+, \d+>) \w+\[(\d+)\]", kernel_text(call.kernel)
    )
    lanes = [
        int(re.findall(r", (\d+)>", kind)[0]) if "vec" in kind else 1 for kind, _ in arrays
    ]
    assert len(arrays) == 2
    words = sum(each * int(count) for each, (_, count) in zip(lanes, arrays, strict=True))
    assert words * 4 <= target.gpu.local_memory_bytes


def test_cuts():
    """What warps join fits into shared memory; few tiles share the keys."""
    instruction = INSTRUCTIONS["float16"][0]
    gpu = TARGET.gpu

    def cut(*sizes):
        return AttentionCut.of(*sizes, gpu, instruction)

    assert cut(12, 128, 128, (32, 32)) == AttentionCut(1, 8, 16)
    assert cut(96, 1024, 1024, (64, 64)).slices == 1
    for widths in ((32, 32), (64, 64), (128, 128), (8, 200)):
        found = cut(1, 40, 5000, widths)
        floats = (found.slices - 1) * found.down * (widths[1] // 8 + 1) * 4 * 32
        assert floats * 4 < gpu.local_memory_bytes
    assert cut_of(attention_of(1, 1, 16, 16, 16, 16, "float16"), TARGET).slices == 1
