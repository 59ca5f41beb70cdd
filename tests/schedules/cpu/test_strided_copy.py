"""Copies against numpy: permutations, steps, halos, parts of an output."""

import dataclasses

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from helpers.kernels import fill, run_calls
from helpers.targets import A53, ARMV7, AVX2, AVX512

from edgecomp.plan.movement import Fill, StridedCopy
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Halo, Order, Value
from edgecomp.schedules.cpu import strided_copy


def reference(kind, x, out):
    """Element by element, straight from the definition."""
    for index in np.ndindex(*kind.shape):
        source = tuple(
            start + (step * index[p] if p >= 0 else 0)
            for start, step, p in zip(
                kind.in_start, kind.in_step, kind.permutation, strict=True
            )
        )
        place = tuple(
            s + i * t for s, i, t in zip(kind.out_start, index, kind.out_step, strict=True)
        )
        value = x[source]
        if kind.lookup is not None:
            value = kind.lookup[int(value) - np.iinfo(x.dtype).min]
        out[place] = value
    return out


def check(kind, x, y, target, slices=3, seed=0):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(x.dtype)
    top = 2 if x.dtype == "bool" else 256
    raw = rng.integers(0, top, x.elements * dtype.itemsize, np.uint8)
    array = raw.view(dtype).reshape(x.shape)
    before = rng.integers(0, 100, y.shape).astype(y.dtype)
    operation = Operation(kind, [x], [y])
    assert strided_copy.match(operation, target) == ""
    calls = strided_copy.emit(operation, target)
    start = fill(y, before, halo_fill=77)
    result = run_calls(calls, target, {x: fill(x, array), y: start.copy()}, slices)
    want = reference(kind, array, before.copy())
    wanted = fill(y, want, halo_fill=77)
    got = result[y] if calls else start
    np.testing.assert_array_equal(got.view(np.uint8), wanted.view(np.uint8))


def whole(shape, permutation=None, **changes):
    rank = len(shape)
    permutation = tuple(range(rank)) if permutation is None else permutation
    kind = StridedCopy(shape, permutation, (0,) * rank, (1,) * rank, (0,) * rank, (1,) * rank)
    return dataclasses.replace(kind, **changes)


def image(name, shape, dtype, halo=None):
    return Value(name, shape, dtype, Order.NHWC, halo or Halo())


def plain(name, shape, dtype):
    return Value(name, shape, dtype)


def layout_cases():
    halo = Halo(1, 2, 0, 3)
    for dtype in ("float32", "uint8", "int64", "float16"):
        narrow = dtype in {"int64", "float16"}
        for shape in (
            ((1, 3, 13, 37), (1, 33, 17, 19))
            if narrow
            else (
                (1, 3, 13, 37),
                (2, 20, 5, 7),
                (1, 64, 7, 9),
                (1, 2, 3, 5),
                (1, 33, 17, 19),
            )
        ):
            kind = whole(shape)
            name = f"{dtype}-{'x'.join(map(str, shape))}"
            yield f"{name}-to-nhwc", kind, plain("x", shape, dtype), image("y", shape, dtype)
            yield (
                f"{name}-to-halo",
                kind,
                plain("x", shape, dtype),
                image("y", shape, dtype, halo),
            )
            yield f"{name}-from-nhwc", kind, image("x", shape, dtype), plain("y", shape, dtype)
            yield (
                f"{name}-from-halo",
                kind,
                image("x", shape, dtype, halo),
                plain("y", shape, dtype),
            )


def other_cases():
    yield (
        "flat",
        whole((5000,)),
        plain("x", (5000,), "float32"),
        plain("y", (5000,), "float32"),
    )
    yield "short", whole((3,)), plain("x", (3,), "uint8"), plain("y", (3,), "uint8")
    yield "scalar", whole(()), plain("x", (), "int32"), plain("y", (), "int32")
    yield "empty", whole((0, 4)), plain("x", (0, 4), "int32"), plain("y", (0, 4), "int32")
    yield (
        "heads",
        whole((2, 4, 9, 16), (0, 2, 1, 3)),
        plain("x", (2, 9, 4, 16), "float32"),
        plain("y", (2, 4, 9, 16), "float32"),
    )
    yield (
        "matrix",
        whole((45, 71), (1, 0)),
        plain("x", (71, 45), "float32"),
        plain("y", (45, 71), "float32"),
    )
    yield (
        "slice",
        whole((4, 5), in_start=(1, 2), in_step=(2, 3)),
        plain("x", (9, 17), "float32"),
        plain("y", (4, 5), "float32"),
    )
    yield (
        "reverse",
        whole((4, 40), in_start=(3, 39), in_step=(-1, -1)),
        plain("x", (4, 40), "int32"),
        plain("y", (4, 40), "int32"),
    )
    yield (
        "part",
        whole((3, 5), out_start=(2, 4)),
        plain("x", (3, 5), "float32"),
        plain("y", (9, 11), "float32"),
    )
    yield (
        "spread",
        whole((3, 5), out_step=(2, 2)),
        plain("x", (3, 5), "float32"),
        plain("y", (6, 10), "float32"),
    )
    yield (
        "expand",
        whole((6, 7, 20), (-1, 1), in_start=(2, 0), in_step=(1, 1)),
        plain("x", (3, 7), "float32"),
        plain("y", (6, 7, 20), "float32"),
    )
    concat = whole((1, 5, 6, 6), out_start=(0, 3, 0, 0))
    yield (
        "channel-concat",
        concat,
        image("x", (1, 5, 6, 6), "uint8", Halo(1, 1, 1, 1)),
        image("y", (1, 11, 6, 6), "uint8", Halo(0, 1, 2, 0)),
    )
    yield (
        "channel-concat-from-planes",
        concat,
        plain("x", (1, 5, 6, 6), "float32"),
        image("y", (1, 11, 6, 6), "float32"),
    )


def lookup_cases():
    rng = np.random.default_rng(3)
    for source in ("uint8", "int8"):
        for dtype in ("uint8", "int8", "float32"):
            table = rng.integers(0, 100, 256).astype(dtype)
            shape = (1, 3, 11, 13)
            kind = whole(shape, lookup=table)
            yield (
                f"lookup-{source}-{dtype}",
                kind,
                image("x", shape, source),
                image("y", shape, dtype, Halo(1, 0, 0, 1)),
            )
            yield (
                f"lookup-planes-{source}-{dtype}",
                kind,
                plain("x", shape, source),
                image("y", shape, dtype),
            )


CASES = [*other_cases(), *layout_cases(), *lookup_cases()]
EMULATED = [
    case
    for case in CASES
    if case[0].split("-")[0] in {"flat", "heads", "matrix", "slice", "lookup"}
    or case[0]
    in {
        "float32-1x3x13x37-to-halo",
        "uint8-1x33x17x19-to-nhwc",
        "float32-2x20x5x7-from-halo",
        "uint8-1x3x13x37-from-nhwc",
    }
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c[0])
def test_copy(case):
    check(*case[1:], AVX2)


@pytest.mark.parametrize("target", [AVX512, A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("case", EMULATED, ids=lambda c: c[0])
def test_copy_on_other_targets(case, target):
    check(*case[1:], target)


@st.composite
def copies(draw):
    """Any permutation, start, step and surroundings that stay inside both values."""
    rank = draw(st.integers(1, 4))
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=rank, max_size=rank)))
    order = draw(st.permutations(range(rank)))
    in_start, in_step, x_shape = [], [], []
    for d in order:
        step = draw(st.sampled_from([1, 1, 1, 2, -1, 0]))
        low, before, after = (draw(st.integers(0, 2)) for _ in range(3))
        reach = abs(step) * (shape[d] - 1)
        in_start.append(before + (reach if step < 0 else 0))
        in_step.append(step)
        x_shape.append(before + reach + 1 + after + low)
    out_start = [draw(st.integers(0, 2)) for _ in shape]
    out_step = [draw(st.sampled_from([1, 1, 2])) for _ in shape]
    y_shape = tuple(
        start + step * (size - 1) + 1 + draw(st.integers(0, 2))
        for start, step, size in zip(out_start, out_step, shape, strict=True)
    )
    kind = StridedCopy(
        shape, tuple(order), tuple(in_start), tuple(in_step), tuple(out_start), tuple(out_step)
    )
    dtype = draw(st.sampled_from(["uint8", "float32", "int64", "bool"]))
    images = rank == 4
    halo = Halo(*(draw(st.integers(0, 2)) for _ in range(4)))
    x_order = image if images and draw(st.booleans()) else plain
    y = (
        image("y", y_shape, dtype, halo)
        if images and draw(st.booleans())
        else plain("y", y_shape, dtype)
    )
    return kind, x_order("x", tuple(x_shape), dtype), y


@hypothesis.given(copies(), st.sampled_from([AVX2, AVX512]))
def test_any_copy(case, target):
    check(*case, target, slices=2)


def test_refusals():
    x, y = plain("x", (4,), "float32"), plain("y", (4,), "int32")
    assert "float32 to int32" in strided_copy.match(Operation(whole((4,)), [x], [y]), AVX2)
    assert strided_copy.match(Operation(Fill(0), [], [y]), AVX2) == "not a copy"
    looked_up = whole((4,), lookup=np.zeros(256, np.int32))
    assert "table of float32" in strided_copy.match(Operation(looked_up, [x], [y]), AVX2)
