"""Attention of quantized values becomes one operation for a GPU with tensor cores."""

import numpy as np
import pytest
from helpers.cuda import run_cuda_calls
from helpers.qdq import QdqGraph

from edgecomp.device.load import load_target
from edgecomp.graph.run import random_feeds
from edgecomp.lower.assemble import set_aliases
from edgecomp.lower.claims import gpu_claims
from edgecomp.lower.fuse_integer_attention import fuse_integer_attention
from edgecomp.lower.fuse_product_copies import fuse_product_copies
from edgecomp.lower.fuse_value_products import fuse_value_products
from edgecomp.lower.program import laid_out_program
from edgecomp.lower.select import select
from edgecomp.plan.attention import IntegerAttention
from edgecomp.plan.products import IntegerBatchMultiply
from edgecomp.reference.interpreter import Reference

TARGET, ORIN = load_target("cuda-sm90"), load_target("jetson-orin")
HEADS, EACH, ROWS = 2, 24, 19


def attention(*, masked=False, read="", zero_b=128):
    """Heads of stored values, exponentials relative to the largest, and a quantized result.

    Args:
        masked: whether a scale and a mask stand between.
        read: what else the model reads: scores, exponentials, or their sums.
        zero_b: zero point of keys and values.
    """
    g = QdqGraph()

    def moved(x, zero, operator, *operands, **attributes):
        result = g.quantize(g(operator, x, *operands, **attributes), 0.02, zero)
        return g.dequantize(result, 0.02, zero)

    def heads(name, zero):
        stored = g.stored(name, (1, ROWS, HEADS * EACH), 0.02, zero)
        cut = moved(stored, zero, "Reshape", np.array([1, ROWS, HEADS, EACH]))
        return moved(cut, zero, "Transpose", perm=[0, 2, 1, 3])

    q, k, v = heads("q", 131), heads("k", zero_b), heads("v", zero_b)
    scores = g("MatMul", q, moved(k, zero_b, "Transpose", perm=[0, 1, 3, 2]))
    if masked:
        scores = g("Add", g("Mul", scores, np.float32(0.3)), g.input("mask", (1, 1, 1, ROWS)))
    axes = np.array([-1])
    exponentials = g("Exp", g("Sub", scores, g("ReduceMax", scores, axes)))
    total = g("ReduceSum", exponentials, axes)
    step = np.float32(1 / 255)
    stored = g.dequantize(g.quantize(exponentials, step, 0), step, 0)
    y = g("Div", g("MatMul", stored, v), total)
    result = g.dequantize(g.quantize(y, 0.011, 120), 0.011, 120)
    joined = g.quantize(g("Transpose", result, perm=[0, 2, 1, 3]), 0.011, 120)
    more = {"scores": scores, "exponentials": exponentials, "sums": total}
    return g.model(joined, *([more[read]] if read else []))


def programs(model, left=(), target=TARGET):
    """The program with integer products, and what the step makes of it."""
    made = laid_out_program(model, target)
    set_aliases(made.program)
    claims = gpu_claims(target, ())
    program = fuse_value_products(made.program, claims)
    program = fuse_product_copies(program, claims, way_bytes=None)
    return program, fuse_integer_attention(program, claims, left)


def results(program, feeds, target=TARGET):
    calls = [call for choice in select(program, target) for call in choice.calls]
    buffers = {value: feeds[value.name].reshape(-1) for value in program.inputs}
    found = run_cuda_calls(calls, buffers)
    return [found[value] for value in program.outputs]


@pytest.mark.parametrize("target", [TARGET, ORIN], ids=lambda target: target.name)
@pytest.mark.parametrize("zero_b", [128, 119])
@pytest.mark.parametrize("masked", [False, True])
def test_bits_stay(masked, zero_b, target):
    """Also where values are stored with a sign."""
    model = attention(masked=masked, zero_b=zero_b)
    apart, joined = programs(model, target=target)
    kinds = [type(operation.kind) for operation in joined.operations]
    assert kinds.count(IntegerAttention) == 1
    assert IntegerBatchMultiply not in kinds
    assert len(joined.operations) == len(apart.operations) - 5
    feeds = random_feeds(model, 3)
    (found,) = results(joined, feeds, target)
    (expected,) = results(apart, feeds, target)
    np.testing.assert_array_equal(found, expected)
    (reference,) = Reference(model)(feeds).values()
    np.testing.assert_array_equal(found.reshape(reference.shape), reference)


@pytest.mark.parametrize("read", ["scores", "exponentials", "sums"])
def test_what_something_else_reads_stays(read):
    program, same = programs(attention(read=read))
    assert same is program


def test_what_the_processor_has_stays():
    program, _ = programs(attention())
    first = next(o for o in program.operations if isinstance(o.kind, IntegerBatchMultiply))
    claims = gpu_claims(TARGET, ())
    assert fuse_integer_attention(program, claims, [first]) is program
    without = gpu_claims(TARGET, ("cuda_tensor_attention",))
    assert fuse_integer_attention(program, without) is program
