"""Products of two activations on tensor cores: floats beside float64, integers bit by bit."""

import dataclasses

import ml_dtypes
import numpy as np
import pytest
from helpers.cuda import run_cuda_calls
from helpers.heads import heads_of, split
from helpers.kernels import fill, read

from edgecomp.device.load import load_target
from edgecomp.plan.elementwise import Step
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import BatchMatrixMultiply, IntegerBatchMultiply
from edgecomp.plan.values import Quantization, Value, View
from edgecomp.schedules.cuda import tensor_batch_product
from edgecomp.schedules.cuda.tensor_batch_kernel import TensorBatchKernel

TARGET = dataclasses.replace(load_target("cuda-sm90"), tf32=True)
ORIN = dataclasses.replace(load_target("jetson-orin"), tf32=True)
#: Whose instruction has other fragments.
VOLTA = load_target("jetson-xavier")
#: Of the largest magnitude: products are exact, sums of float32.
TOLERANCE = 2e-6


def kind_of(dtype):
    return np.dtype(getattr(ml_dtypes, dtype, dtype))


def rounded(x, dtype):
    """As the instruction takes it, in float64."""
    if dtype != "float32":
        return x.astype(kind_of(dtype)).astype(np.float64)
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    kept = (bits + np.uint32(1 << 12)) & np.uint32(0xFFFFE000)
    return kept.view(np.float32).astype(np.float64)


def stored(name, shape, dtype):
    return Value(name, shape, "float32", storage="" if dtype == "float32" else dtype)


def run(operation, target, arrays):
    """The output, and what its buffer held beside it, which is kept."""
    assert tensor_batch_product.match(operation, target) == ""
    (call,) = tensor_batch_product.emit(operation, target)
    buffers = {
        value: fill(value, array)
        for value, array in zip(operation.inputs, arrays, strict=True)
        if value.constant is None
    }
    output = operation.output
    buffers[output] = fill(output, np.zeros(output.shape, output.stored), 7)
    return run_cuda_calls([call], buffers)[output]


def of_floats(batches, rows, depth, columns, dtype, target, rng, *, turned=False):
    """Result and what it should be of one product; ``turned`` is b as [..., N, K]."""
    a = rng.standard_normal((*batches[0], rows, depth)).astype(np.float32)
    b = rng.standard_normal((*batches[1], depth, columns)).astype(np.float32)
    want = rounded(a, dtype) @ rounded(b, dtype) * 0.25
    given = [a, np.swapaxes(b, -1, -2) if turned else b]
    values = [stored(n, m.shape, dtype) for n, m in zip("ab", given, strict=True)]
    kind = BatchMatrixMultiply(transpose_b=turned, alpha=0.25)
    operation = Operation(kind, values, [Value("y", want.shape, "float32")])
    found = read(operation.output, run(operation, target, given))
    np.testing.assert_allclose(found, want, rtol=0, atol=TOLERANCE * np.abs(want).max())
    return TensorBatchKernel(operation, target)


#: Whole tiles; tails of rows, columns and K; words of 16, 8 and 4 bytes and none, vectors of four, two and
#: one column; one row, one column; K that several warps share; several warps below each other;
#: batches that broadcast.
FLOATS = [
    (((3,), (3,)), 32, 32, 32),
    (((2, 3), (2, 3)), 13, 20, 12),
    (((2, 3), (3,)), 17, 34, 10),
    (((), ()), 5, 33, 9),
    (((4,), (1,)), 1, 8, 1),
    (((2,), (2,)), 33, 130, 40),
    (((1,), (1,)), 16, 600, 24),
    (((1,), (1,)), 20, 517, 7),
    (((), ()), 150, 64, 40),
]


@pytest.mark.parametrize("turned", [False, True], ids=["K_by_N", "N_by_K"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("case", FLOATS, ids=str)
def test_floats(case, dtype, turned, rng):
    of_floats(*case, dtype, TARGET, rng, turned=turned)


#: Several warps below each other, and words of 16 bytes.
VOLTA_FLOATS = [FLOATS[k] for k in (0, 1, 3, 5, 7, 8)]


@pytest.mark.parametrize("turned", [False, True], ids=["K_by_N", "N_by_K"])
@pytest.mark.parametrize("case", VOLTA_FLOATS, ids=str)
def test_floats_of_quads(case, turned, rng):
    of_floats(*case, "float16", VOLTA, rng, turned=turned)


def test_what_the_cases_are(rng):
    """Every way to load an operand, and K that warps share, are among them."""
    small = dataclasses.replace(TARGET.gpu, busy_items=1)
    few = dataclasses.replace(TARGET, gpu=small)
    cases = [(c, t, target) for c in FLOATS for t in (0, 1) for target in (TARGET, few)]
    found = [of_floats(*c, "float16", target, rng, turned=t).cut for c, t, target in cases]
    assert {cut.order.words for cut in found} == {1, 2, 4}
    assert {cut.vector for cut in found} == {0, 1, 2, 4}
    assert {cut.tile.slices for cut in found} >= {1, 2, 8}
    assert {(cut.tile.down, cut.tile.across) for cut in found} >= {(1, 1), (1, 2), (2, 4)}


@pytest.mark.parametrize(
    ("rows", "keys", "each"), [(21, 16, 16), (9, 19, 12), (17, 40, 10), (8, 8, 9)]
)
def test_heads_are_read_and_written_where_they_lie(rows, keys, each, rng):
    """As attention's two products, without the transposes around them."""
    heads, batch = 3, 2
    q = rng.standard_normal((batch, rows, heads * each)).astype(np.float32)
    k, v = rng.standard_normal((2, batch, keys, heads * each)).astype(np.float32)
    values = [stored(n, m.shape, "float16") for n, m in zip("qkv", (q, k, v), strict=True)]
    views = [heads_of(value, heads) for value in values]
    scores = stored("s", (batch, heads, rows, keys), "float16")
    first = BatchMatrixMultiply(transpose_b=True, alpha=0.5, a=views[0], b=views[1])
    found = read(scores, run(Operation(first, values[:2], [scores]), TARGET, [q, k]))
    q, k, v = (split(rounded(x, "float16"), heads) for x in (q, k, v))
    want = q @ k.swapaxes(-1, -2) * 0.5
    np.testing.assert_allclose(found.astype(float), want, rtol=1e-3, atol=1e-4)
    y = stored("y", (batch, rows, heads * each), "float16")
    second = BatchMatrixMultiply(b=views[2], output=heads_of(y, heads))
    given = Value("w", scores.shape, "float32", storage="float16")
    operation = Operation(second, [given, values[2]], [y])
    v_at = v.swapaxes(1, 2).reshape(batch, keys, heads * each)
    again = run(operation, TARGET, [found, v_at])
    want = (found.astype(float) @ v).swapaxes(1, 2).reshape(y.shape)
    np.testing.assert_allclose(read(y, again).astype(float), want, rtol=1e-3, atol=2e-3)


def test_behind_the_end_of_k_is_nothing(rng):
    """What lies behind rows may be infinite."""
    a, b = (np.full((2, 40, 24), np.inf, np.float32) for _ in "ab")
    a[:, :5, :19], b[:, :19, :7] = (rng.standard_normal((2, *s)) for s in ((5, 19), (19, 7)))
    values = [stored(n, m.shape, "float16") for n, m in zip("ab", (a, b), strict=True)]
    views = [View((2, *s), (960, 24, 1), 0, 1920) for s in ((5, 19), (19, 7))]
    y = Value("y", (2, 5, 7), "float32")
    kind = BatchMatrixMultiply(a=views[0], b=views[1])
    found = read(y, run(Operation(kind, values, [y]), TARGET, [a, b]))
    want = rounded(a[:, :5, :19], "float16") @ rounded(b[:, :19, :7], "float16")
    np.testing.assert_allclose(found, want, rtol=0, atol=TOLERANCE * np.abs(want).max())


def of_bytes(
    shapes, dtypes, zeros, rng, *, target=TARGET, turned=False, kind=None, output=None, more=()
):
    """The result of an integer product, and its exact sums."""
    (batch, rows, depth), columns = shapes
    given = []
    for dtype, shape in zip(
        dtypes, ((*batch, rows, depth), (*batch, depth, columns)), strict=True
    ):
        limits = np.iinfo(dtype)
        given.append(rng.integers(limits.min, limits.max + 1, shape).astype(dtype))
    laid = [given[0], np.ascontiguousarray(given[1].swapaxes(-1, -2)) if turned else given[1]]
    a, b = (
        Value(n, x.shape, dtype, quantization=Quantization(0.5, zero))
        for n, x, dtype, zero in zip("ab", laid, dtypes, zeros, strict=True)
    )
    b_view = b.view
    if turned:
        order = (*b.view.shape[:-2], b.view.shape[-1], b.view.shape[-2])
        strides = (*b.view.strides[:-2], 1, b.view.strides[-2])
        b_view = View(order, strides, 0, b.view.elements)
    output = output or Value("y", (*batch, rows, columns), "float32")
    fields = {"alpha": 1.0, "steps": (), **(kind or {})}
    made = IntegerBatchMultiply(a=a.view, b=b_view, output=output.view, **fields)
    operation = Operation(made, [a, b, *(value for value, _ in more)], [output])
    arrays = [*laid, *(array for _, array in more)]
    centred = [x.astype(np.int64) - zero for x, zero in zip(given, zeros, strict=True)]
    return read(output, run(operation, target, arrays)), centred[0] @ centred[1]


#: Middle, end and other zero points of both operands, of both types and of two.
ZEROS = [
    (("uint8", "uint8"), (128, 128)),
    (("uint8", "uint8"), (0, 128)),
    (("uint8", "uint8"), (0, 0)),
    (("uint8", "uint8"), (128, 0)),
    (("uint8", "uint8"), (77, 201)),
    (("uint8", "uint8"), (255, 128)),
    (("int8", "int8"), (0, 0)),
    (("int8", "int8"), (-128, 0)),
    (("int8", "int8"), (0, -5)),
    (("int8", "int8"), (-128, 127)),
    (("uint8", "int8"), (3, 0)),
]
#: Whole tiles; tails of all three and words that K ends in; K that warps share, with a tail; several warps.
BYTES = [
    (((2,), 32, 64), 32),
    (((2, 2), 13, 36), 12),
    (((), 9, 35), 7),
    (((3,), 1, 9), 2),
    (((), 10, 1090), 20),
    (((), 10, 1091), 20),
    (((2,), 70, 40), 41),
]


@pytest.mark.parametrize("turned", [False, True], ids=["K_by_N", "N_by_K"])
@pytest.mark.parametrize("target", [TARGET, VOLTA], ids=lambda target: target.name)
@pytest.mark.parametrize("shapes", BYTES, ids=str)
def test_bytes(shapes, target, turned, rng):
    for dtypes, zeros in (ZEROS[0], ZEROS[1], ZEROS[4], ZEROS[9]):
        found, want = of_bytes(shapes, dtypes, zeros, rng, turned=turned, target=target)
        np.testing.assert_array_equal(found, want.astype(np.float32))


@pytest.mark.parametrize("target", [TARGET, ORIN, VOLTA], ids=lambda target: target.name)
@pytest.mark.parametrize(("dtypes", "zeros"), ZEROS, ids=str)
def test_zero_points(dtypes, zeros, target, rng):
    found, want = of_bytes((((2,), 18, 75), 21), dtypes, zeros, rng, target=target)
    np.testing.assert_array_equal(found, want)
    few = dataclasses.replace(target, gpu=dataclasses.replace(target.gpu, busy_items=1))
    found, want = of_bytes((((), 40, 132), 40), dtypes, zeros, rng, target=few)
    np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("target", [TARGET, VOLTA], ids=lambda target: target.name)
def test_steps_and_bytes_behind_a_product(target, rng):
    """A scale and a mask, then QuantizeLinear: a step to float32, then rounding half to even."""
    half = Value("half", (), "float32", constant=np.array(0.5, np.float32))
    mask = Value("mask", (2, 1, 1, 21), "float32")
    bias = Value("bias", (9, 1), "float32")
    steps = tuple(
        Step(name, operands, "float32")
        for name, operands in (("Mul", (0, 1)), ("Add", (4, 2)), ("Sub", (5, 3)))
    )
    masks = rng.standard_normal(mask.shape).astype(np.float32)
    biases = rng.standard_normal(bias.shape).astype(np.float32)
    more = [(half, half.constant), (mask, masks), (bias, biases)]
    output = Value("y", (2, 3, 9, 21), "uint8", quantization=Quantization(0.037, 11))
    found, sums = of_bytes(
        (((2, 3), 9, 40), 21),
        ("uint8", "uint8"),
        (7, 128),
        rng,
        target=target,
        kind={"alpha": 1e-5, "steps": steps},
        output=output,
        more=more,
    )
    scaled = sums.astype(np.float32) * np.float32(1e-5) * np.float32(0.5) + masks - biases
    want = np.clip(np.rint(scaled / np.float32(0.037)) + 11, 0, 255)
    np.testing.assert_array_equal(found, want)
    assert len(np.unique(found)) > 10


@pytest.mark.parametrize(
    ("dtype", "other", "depth", "target", "reason"),
    [
        ("float16", "bfloat16", 16, TARGET, "a product of float16 and bfloat16"),
        ("float16", "float32", 16, TARGET, "a product of float16 and float32"),
        ("float16", "float16", 7, TARGET, "only 7 elements of K"),
        ("bfloat16", "bfloat16", 16, VOLTA, "no bf16_mma"),
        ("float32", "float32", 16, load_target("cuda-sm90"), "tf32 is not allowed"),
    ],
)
def test_refusals(dtype, other, depth, target, reason):
    values = [stored("a", (2, 4, depth), dtype), stored("b", (2, depth, 8), other)]
    operation = Operation(BatchMatrixMultiply(), values, [Value("y", (2, 4, 8), "float32")])
    assert reason in tensor_batch_product.match(operation, target)
    kind = BatchMatrixMultiply(transpose_a=True)
    turned = Operation(kind, [stored("a", (2, depth, 4), dtype), values[1]], operation.outputs)
    assert tensor_batch_product.match(turned, TARGET) != ""
