import numpy as np
import pytest
from helpers.graphs import Graph
from helpers.rewritten import rewritten
from helpers.targets import AVX2

from edgecomp.lower.fuse_quantize import fuse_quantize
from edgecomp.plan.operations import LayerNorm, Quantize, Softmax

SCALE, ZERO = np.array(0.02, np.float32), np.array(128, np.uint8)


def normalised(*, last="QuantizeLinear", again=False, zero=ZERO):
    g = Graph()
    x = g.input("x", (2, 5, 16))
    gain = np.linspace(0.5, 2, 16, dtype=np.float32)
    y = g("LayerNormalization", x, gain, gain - 1)
    results = [g(last, y, SCALE, zero)] if last == "QuantizeLinear" else [g(last, y)]
    return g.model(*results, *([g("Relu", y)] if again else []))


def fused(model):
    return rewritten(model, AVX2, lambda program: fuse_quantize(program, AVX2))


@pytest.mark.parametrize("again", [False, True], ids=["alone", "read again"])
def test_the_normalisation_writes_8_bits(again):
    before, program = fused(normalised(again=again))
    assert not any(isinstance(o.kind, Quantize) for o in program.operations)
    (norm,) = (o for o in program.operations if isinstance(o.kind, LayerNorm))
    assert [value.dtype for value in norm.outputs] == ["float32", "uint8"][not again :]
    assert norm.outputs[-1].quantization is not None
    assert len(norm.nodes) == 2
    assert len(program.operations) == len(before.operations) - 1


def weights(*, again=False, axis=-1, operator="Softmax"):
    g = Graph()
    y = g(operator, g.input("x", (2, 5, 16)), axis=axis)
    q = g("QuantizeLinear", y, SCALE, ZERO)
    return g.model(q, *([g("Relu", y)] if again else []))


def test_a_softmax_writes_8_bits():
    _, program = fused(weights())
    (operation,) = program.operations
    assert isinstance(operation.kind, Softmax)
    assert operation.output.dtype == "uint8"


@pytest.mark.parametrize(
    "model", [weights(again=True), weights(axis=1), weights(operator="LogSoftmax")]
)
def test_other_softmaxes_stay(model):
    before, after = fused(model)
    assert after is before


@pytest.mark.parametrize(
    "model", [normalised(last="Softmax"), normalised(zero=np.array(9, np.int16))]
)
def test_other_readers_stay(model):
    before, after = fused(model)
    assert after is before
