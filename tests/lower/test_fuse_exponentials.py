"""Exponentials with their sums in one pass."""

import numpy as np
import pytest
from helpers.graphs import Graph
from helpers.rewritten import rewritten
from helpers.targets import AVX2

from edgecomp.lower.fuse_exponentials import fuse_exponentials
from edgecomp.plan.attention import Exponentials
from edgecomp.plan.elementwise import Elementwise
from edgecomp.plan.quantization import Quantize
from edgecomp.plan.reductions import Reduce

SCALE, ZERO = np.array(1 / 255, np.float32), np.array(0, np.uint8)


def weights(*, axes=(-1, -1), first="ReduceMax", keep=1, again="", function="Exp", zero=ZERO):
    g = Graph()
    x = g.input("x", (5, 5, 5))
    greatest = g(first, x, np.array(axes[:1]), keepdims=keep)
    e = g(function, g("Sub", x, greatest))
    stored = g("QuantizeLinear", e, SCALE, zero)
    total = g("ReduceSum", e, np.array(axes[1:]), keepdims=keep)
    read = {"peaks": greatest, "exponentials": e, "sums": total}
    return g.model(stored, total, *([g("Relu", read[again])] if again else []))


def fused(model):
    return rewritten(model, AVX2, lambda program: fuse_exponentials(program, AVX2))


@pytest.mark.parametrize("again", ["", "sums"])
def test_one_pass(again):
    before, program = fused(weights(again=again))
    assert len(program.operations) == len(before.operations) - 3
    (operation,) = (o for o in program.operations if isinstance(o.kind, Exponentials))
    assert [value.dtype for value in operation.outputs] == ["uint8", "float32"]
    assert len(operation.nodes) == 5
    assert not any(isinstance(o.kind, Quantize | Reduce) for o in program.operations)
    assert before.operations != program.operations


@pytest.mark.parametrize(
    "model",
    [
        weights(axes=(1, -1)),
        weights(axes=(-1, 1)),
        weights(first="ReduceMin"),
        weights(keep=0),
        weights(again="peaks"),
        weights(again="exponentials"),
        weights(function="Sigmoid"),
        weights(zero=np.array(0, np.int16)),
    ],
    ids=["maximum", "sum", "minimum", "shape", "peaks", "read again", "function", "16 bits"],
)
def test_others_stay(model):
    before, after = fused(model)
    assert after is before
    assert any(isinstance(o.kind, Elementwise) for o in after.operations)
