"""Attention as GPUs compute it, against float64."""

import dataclasses

import numpy as np
import pytest
from helpers.gpu import TARGETS, compute
from helpers.heads import heads_of, split

from edgecomp.plan.attention import Attention
from edgecomp.plan.elementwise import Step
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Value
from edgecomp.schedules.gpu import attention
from edgecomp.schedules.gpu.attention_kernel import choose_tile


def attention_of(batch, heads, rows, keys, depth, columns, *, steps=(), extras=()):
    shapes = ((rows, depth), (keys, depth), (keys, columns), (rows, columns))
    values = [
        Value(name, (batch, count, heads * each), "float32")
        for name, (count, each) in zip("qkvy", shapes, strict=True)
    ]
    q, k, v, y = (heads_of(value, heads) for value in values)
    kind = Attention(q=q, k=k, v=v, y=y, alpha=0.25, steps=steps)
    return Operation(kind, [*values[:3], *extras], [values[3]])


@pytest.mark.parametrize(
    ("batch", "heads", "rows", "keys", "depth", "columns", "masked"),
    [
        (2, 3, 13, 21, 10, 12, False),
        (1, 2, 8, 150, 8, 64, True),  # several rounds of keys, many columns
        (1, 2, 1, 70, 4, 7, True),  # one row, columns that are no vectors
    ],
)
def test_attention(batch, heads, rows, keys, depth, columns, masked, rng):
    steps, extras = (), ()
    if masked:
        steps = (Step("Mul", (0, 1), "float32"), Step("Add", (3, 2), "float32"))
        half = Value("half", (), "float32", constant=np.array(0.5, np.float32))
        extras = (half, Value("mask", (batch, 1, 1, keys), "float32"))
    operation = attention_of(
        batch, heads, rows, keys, depth, columns, steps=steps, extras=extras
    )
    given = [
        rng.standard_normal(value.shape).astype(np.float32)
        for value in operation.inputs
        if value.constant is None
    ]
    found = compute(attention, operation, given)
    q, k, v = (split(array, heads) for array in given[:3])
    scores = q @ k.swapaxes(-1, -2) * 0.25
    if masked:
        scores = scores * 0.5 + given[3]
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    want = (weights / weights.sum(axis=-1, keepdims=True)) @ v
    want = want.swapaxes(1, 2).reshape(found.shape)
    np.testing.assert_allclose(found, want, rtol=2e-5, atol=2e-6)


def test_refusals():
    target = TARGETS["opencl"]
    long = attention_of(1, 1, 4, 4000, 8, 8)
    assert "local memory" in attention.match(long, target)
    short = attention_of(1, 1, 4, 40, 8, 8)
    turned = dataclasses.replace(
        short.kind, v=dataclasses.replace(short.kind.v, strides=(8, 8, 1, 4))
    )
    assert "side by side" in attention.match(
        Operation(turned, short.inputs, short.outputs), target
    )
    assert (
        choose_tile(1, 1, 4000, target.gpu) is None
    )  # 16000 bytes of scores, and no room to join
