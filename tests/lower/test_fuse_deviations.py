"""Variances in one pass over what they are of."""

import numpy as np
import pytest
from helpers.graphs import Graph
from helpers.rewritten import check_results, rewritten
from helpers.targets import AVX2

from edgecomp.lower.claims import processor_claims
from edgecomp.lower.fuse_deviations import fuse_deviations
from edgecomp.plan.elementwise import Elementwise
from edgecomp.plan.reductions import Reduce


def variance(
    *, axes=((2, 3), (2, 3)), reduction="ReduceMean", keep=1, again=False, function="Sub"
):
    g = Graph()
    x = g.input("x", (2, 5, 6, 7))
    mean = g("ReduceMean", x, np.array(axes[0]), keepdims=1)
    d = g(function, x, mean)
    squares = g("Mul", d, d)
    y = g(reduction, squares, np.array(axes[1]), keepdims=keep)
    return g.model(y, *([g("Relu", squares)] if again else []))


def fused(model):
    return rewritten(
        model, AVX2, lambda program: fuse_deviations(program, processor_claims(AVX2))
    )


@pytest.mark.parametrize("reduction", ["ReduceMean", "ReduceSum"])
@pytest.mark.parametrize("axes", [(2, 3), (1,), (0, 2, 3), (3,)], ids=str)
def test_one_pass(reduction, axes):
    model = variance(axes=(axes, axes), reduction=reduction)
    before, program = fused(model)
    assert len(program.operations) == len(before.operations) - 1
    assert not any(isinstance(o.kind, Elementwise) for o in program.operations)
    assert program.operations[-1].kind.centred
    check_results(model, program, AVX2)


@pytest.mark.parametrize(
    "model",
    [
        variance(axes=((2, 3), (1,))),
        variance(reduction="ReduceMax"),
        variance(keep=0),
        variance(again=True),
        variance(function="Add"),
    ],
    ids=["axes", "maximum", "shape", "read again", "sum"],
)
def test_others_stay(model):
    before, after = fused(model)
    assert after is before


def test_what_is_spread_along_other_dimensions_stays():
    """By the shape alone it could be one number for each result."""
    g = Graph()
    x, m = g.input("x", (5, 5)), g.input("m", (5,))
    d = g("Sub", x, m)
    model = g.model(g("ReduceMean", g("Mul", d, d), np.array([1]), keepdims=0))
    before, after = fused(model)
    assert after is before
    check_results(model, after, AVX2)


def test_no_kept_dimensions():
    """Of leading dimensions a value is one number for each result."""
    g = Graph()
    x, m = g.input("x", (4, 5)), g.input("m", (5,))
    d = g("Sub", x, m)
    model = g.model(g("ReduceMean", g("Mul", d, d), np.array([0]), keepdims=0))
    _, after = fused(model)
    (operation,) = after.operations
    assert operation.kind.centred
    check_results(model, after, AVX2)


def test_instances():
    g = Graph()
    x = g.input("x", (2, 5, 6, 7))
    scale, bias = np.arange(1, 6, dtype=np.float32), np.arange(5, dtype=np.float32)
    model = g.model(g("InstanceNormalization", x, scale, bias))
    _, program = fused(model)
    assert [o.kind.centred for o in program.operations if isinstance(o.kind, Reduce)] == [
        False,
        True,
    ]
    check_results(model, program, AVX2)
