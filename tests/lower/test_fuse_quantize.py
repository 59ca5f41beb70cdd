import numpy as np
import pytest
from helpers.graphs import Graph
from helpers.rewritten import rewritten
from helpers.targets import AVX2

from edgecomp.lower.fuse_quantize import fuse_quantize
from edgecomp.plan.attention import Softmax
from edgecomp.plan.quantization import Quantize
from edgecomp.plan.reductions import LayerNorm

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


def multiplied(factors, *, operator="Mul", read=None, swapped=False, axis=-1):
    g = Graph()
    y = g(
        "LayerNormalization",
        g.input("x", (2, 5, 16)),
        *(np.ones((5, 16)[axis:], np.float32),) * 2,
        axis=axis,
    )
    row = factors if isinstance(factors, np.ndarray) else g.input("row", factors)
    z = g(operator, *((row, y) if swapped else (y, row)))
    results = [g("QuantizeLinear", z, SCALE, ZERO)]
    results += [g("Relu", {"y": y, "z": z}[read])] if read else []
    return g.model(*results)


ROW = np.exp2(np.arange(16) % 5 - 2).astype(np.float32)


@pytest.mark.parametrize("read", [None, "y"])
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    "factors",
    [ROW, ROW.reshape(1, 1, 16), np.array(0.5, np.float32), np.array([2], np.float32)],
    ids=["row", "row of three dimensions", "number", "one element"],
)
def test_factors_in_front_of_8_bits(read, swapped, factors):
    before, program = fused(multiplied(factors, read=read, swapped=swapped))
    (norm,) = (o for o in program.operations if isinstance(o.kind, LayerNorm))
    assert len(norm.nodes) == 3
    assert len(program.operations) == len(before.operations) - 2
    np.testing.assert_array_equal(
        norm.inputs[3].constant, np.broadcast_to(factors.reshape(-1), (16,))
    )


@pytest.mark.parametrize(
    "model",
    [
        multiplied(ROW, read="z"),
        multiplied(ROW, operator="Add"),
        multiplied(np.ones((5, 16), np.float32)),
        multiplied((16,)),
    ],
    ids=["read again", "sum", "factors of rows", "factors of the run"],
)
def test_other_factors_stay(model):
    before, after = fused(model)
    assert after is before


def test_factors_of_two_normalised_dimensions():
    factors = np.exp2(np.arange(80).reshape(5, 16) % 3).astype(np.float32)
    _, program = fused(multiplied(factors, axis=-2))
    (norm,) = program.operations
    np.testing.assert_array_equal(norm.inputs[3].constant, factors)


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
