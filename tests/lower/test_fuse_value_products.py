"""Products of two quantized values become integer products; the bits stay those of the float form."""

import numpy as np
import onnx_ir as ir
import pytest
from helpers.cuda import run_cuda_calls
from helpers.kernels import run_calls
from helpers.qdq import QdqGraph, stored_numbers, weights
from helpers.targets import A53, A76, ARMV7, AVX2, AVX512

from edgecomp.device.load import load_target
from edgecomp.graph.run import random_feeds
from edgecomp.lower.assemble import set_aliases
from edgecomp.lower.claims import gpu_claims, processor_claims
from edgecomp.lower.fuse_product_copies import fuse_product_copies
from edgecomp.lower.fuse_value_products import fuse_value_products
from edgecomp.lower.program import LaidOut, laid_out_program, processor_program
from edgecomp.lower.select import select
from edgecomp.passes.relative_softmax import relate_weights
from edgecomp.plan.attention import Exponentials
from edgecomp.plan.elementwise import Elementwise
from edgecomp.plan.movement import Reinterpret, StridedCopy
from edgecomp.plan.products import BatchMatrixMultiply, IntegerBatchMultiply
from edgecomp.plan.quantization import Dequantize, Quantize
from edgecomp.plan.reductions import Reduce
from edgecomp.reference.interpreter import Reference

TARGETS = (AVX2, AVX512, A53, A76, ARMV7)


def attention(*, zero_b=128, again=False, mask=()):
    """Heads of stored values; the weights and the result are quantized."""
    g = QdqGraph()

    def moved(x, zero, operator, *operands, **attributes):
        result = g.quantize(g(operator, x, *operands, **attributes), 0.02, zero)
        return g.dequantize(result, 0.02, zero)

    def heads(name, zero):
        stored = g.stored(name, (1, 19, 2 * 24), 0.02, zero)
        cut = moved(stored, zero, "Reshape", np.array([1, 19, 2, 24]))
        return moved(cut, zero, "Transpose", perm=[0, 2, 1, 3])

    q, k, v = heads("q", 131), heads("k", zero_b), heads("v", zero_b)
    keys = moved(k, zero_b, "Transpose", perm=[0, 1, 3, 2])
    scores = g("MatMul", q, keys)
    if mask:
        scores = g("Add", g("Mul", scores, np.float32(0.3)), g.input("mask", mask))
    weights = g("Softmax", scores, axis=-1)
    stored = g.dequantize(g.quantize(weights, 1 / 255, 0), 1 / 255, 0)
    y = g("MatMul", stored, v)
    result = g.dequantize(g.quantize(y, 0.011, 120), 0.011, 120)
    joined = g.quantize(g("Transpose", result, perm=[0, 2, 1, 3]), 0.011, 120)
    return g.model(joined, *([y] if again else []))


def kinds(program, *types):
    return [o for o in program.operations if isinstance(o.kind, types)]


def outputs_of(program, target, feeds):
    """What calls make of each output, whatever its order of operations."""
    calls = [call for choice in select(program, target) for call in choice.calls]
    buffers = {value: feeds[value.name].reshape(-1) for value in program.inputs}
    results = run_calls(calls, target, buffers, 2)
    return [results[value] for value in program.outputs]


@pytest.mark.parametrize("mask", [(), (1, 1, 1, 19), (1, 2, 19, 1), (19, 19)], ids=str)
@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_bits_stay(target, mask):
    model = attention(mask=mask)
    made = laid_out_program(model, target)
    set_aliases(made.program)
    assert len(kinds(made.program, BatchMatrixMultiply)) == 2
    feeds = random_feeds(model, 3)
    (expected,) = outputs_of(made.program, target, feeds)
    fused = processor_program(LaidOut(made.program, [], []), target)
    assert len(kinds(fused, IntegerBatchMultiply)) == 2
    left = (BatchMatrixMultiply, Dequantize, Quantize, StridedCopy, Elementwise)
    assert not kinds(fused, *left)
    (found,) = outputs_of(fused, target, feeds)
    np.testing.assert_array_equal(found, expected)
    (reference,) = Reference(model)(feeds).values()
    np.testing.assert_array_equal(found.reshape(reference.shape), reference)


@pytest.mark.parametrize("zero_b", [128, 119])
@pytest.mark.parametrize("mask", [(), (1, 1, 1, 19), (1, 2, 19, 1)], ids=str)
def test_bits_stay_on_tensor_cores(mask, zero_b):
    """Of a softmax that is stored as it is, with any zero point of keys and values."""
    target = load_target("cuda-sm90")
    model = attention(mask=mask, zero_b=zero_b)
    program = laid_out_program(model, target).program
    set_aliases(program)
    claims = gpu_claims(target, ())
    fused = fuse_value_products(program, claims)
    fused = fuse_product_copies(fused, claims, way_bytes=None)
    assert len(kinds(fused, IntegerBatchMultiply)) == 2
    assert not kinds(fused, BatchMatrixMultiply, Dequantize, StridedCopy, Elementwise)
    feeds = random_feeds(model, 3)
    buffers = {value: feeds[value.name].reshape(-1) for value in program.inputs}
    found, expected = (
        run_cuda_calls([c for choice in select(p, target) for c in choice.calls], buffers)
        for p in (fused, program)
    )
    (output,) = program.outputs
    np.testing.assert_array_equal(found[output], expected[output])


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_relative_weights_and_their_division_join(target):
    """Three operations are left; orders of float sums may move a result to its neighbour."""
    model = attention(mask=(1, 1, 1, 19))
    assert relate_weights(model, [n for n in model.graph if n.op_type == "MatMul"]) == 1
    made = laid_out_program(model, target)
    set_aliases(made.program)
    fused = processor_program(LaidOut(made.program, [], []), target)
    assert len(kinds(fused, Exponentials)) == 1
    assert len(kinds(fused, IntegerBatchMultiply)) == 2
    assert not kinds(fused, Quantize, StridedCopy, Elementwise, Reduce)
    feeds = random_feeds(model, 3)
    (found,) = outputs_of(fused, target, feeds)
    (reference,) = Reference(model)(feeds).values()
    difference = found.reshape(reference.shape).astype(int) - reference
    assert np.abs(difference).max() <= 1
    assert np.count_nonzero(difference) <= difference.size // 100


def test_a_result_that_others_read_stays_float():
    made = laid_out_program(attention(again=True), AVX2)
    set_aliases(made.program)
    before = list(made.program.operations)
    fused = fuse_value_products(made.program, processor_claims(AVX2))
    assert made.program.operations == before
    products = kinds(fused, IntegerBatchMultiply)
    assert [product.output.dtype for product in products] == ["float32", "float32"]
    assert not kinds(fused, Reinterpret)


@pytest.mark.parametrize("operator", ["Cast", "Mul"])
def test_chains_that_are_no_steps_stay(operator):
    """Of results in another type, or of the product with itself."""
    g = QdqGraph()
    a = g.stored("a", (2, 19, 24), 0.02, 131)
    y = g("MatMul", a, g.stored("b", (2, 24, 30), 0.03, 128))
    result = g("Cast", y, to=ir.DataType.FLOAT16) if operator == "Cast" else g("Mul", y, y)
    made = laid_out_program(g.model(result), AVX2)
    set_aliases(made.program)
    fused = fuse_value_products(made.program, processor_claims(AVX2))
    (product,) = kinds(fused, IntegerBatchMultiply)
    assert product.kind.steps == ()
    assert len(kinds(fused, Elementwise)) == 1


def test_one_of_two_products_has_the_chain_that_joins_them():
    g = QdqGraph()
    first, second = (
        g("MatMul", g.stored(a, (19, depth), 0.02, 131), g.stored(b, (depth, 30), 0.03, 128))
        for a, b, depth in (("a", "b", 24), ("c", "d", 17))
    )
    model = g.model(g("Div", first, second))
    made = laid_out_program(model, AVX2)
    set_aliases(made.program)
    fused = fuse_value_products(made.program, processor_claims(AVX2))
    assert [len(p.kind.steps) for p in kinds(fused, IntegerBatchMultiply)] == [0, 1]
    feeds = random_feeds(model, 3)
    (found,) = outputs_of(fused, AVX2, feeds)
    (expected,) = Reference(model)(feeds).values()
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


@pytest.mark.parametrize("reader", ["nothing", "nearly", "product"])
def test_a_copy_of_stored_numbers_does_not_change_their_scale(reader, rng):
    """Of numbers that no QuantizeLinear makes, of nearly the same scale, and as whole steps."""
    g = QdqGraph()
    a = g.stored("a", (2, 19, 24), 0.02, 131)
    y = g.quantize(g("MatMul", a, g.stored("b", (2, 24, 30), 0.03, 128)), 0.11, 120)
    moved = g("Transpose", g.dequantize(y, 0.11, 120), perm=[1, 0, 2])
    if reader == "nothing":
        result = g("Transpose", y, perm=[1, 0, 2])
    elif reader == "nearly":
        result = g.quantize(moved, 0.110001, 120)
    else:
        again = g.dequantize(g.quantize(moved, 0.11, 120), 0.11, 120)
        result = g("MatMul", again, g.stored("c", (30, 7), 0.03, 128))
    model = g.model(result)
    made = laid_out_program(model, AVX2)
    set_aliases(made.program)
    fused = processor_program(LaidOut(made.program, [], []), AVX2)
    first, *_ = kinds(fused, IntegerBatchMultiply)
    assert first.output.quantization.scale == np.float32(0.11)
    feeds = {v.name: stored_numbers(rng, tuple(v.shape.numpy())) for v in model.graph.inputs}
    (found,) = outputs_of(fused, AVX2, feeds)
    (expected,) = Reference(model)(feeds).values()
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


def test_a_transposed_cube_is_read_as_the_product_does(rng):
    """Channels last, it is the same bytes and the same sizes."""
    g = QdqGraph()
    x = g.stored("x", (1, 4, 8, 8), 0.02, 120)
    image = g.quantize(g("Conv", x, g.weight(weights(rng, 8, 4, 1, 1), 0.01)), 0.1, 120)
    turned = g("Transpose", g.dequantize(image, 0.1, 120), perm=[0, 2, 3, 1])
    a = g.dequantize(g.quantize(turned, 0.1, 120), 0.1, 120)
    model = g.model(g("MatMul", a, g.stored("b", (8, 7), 0.03, 128)))
    made = laid_out_program(model, AVX2)
    set_aliases(made.program)
    fused = fuse_value_products(made.program, processor_claims(AVX2))
    (product,) = kinds(fused, IntegerBatchMultiply)
    assert product.inputs[0].view.strides == (512, 64, 8, 1)


@pytest.mark.parametrize("target", [AVX512, A76], ids=lambda t: t.name)
def test_b_with_another_zero_point(target):
    """As onnxruntime quantizes it; a core without dot products keeps it float."""
    model = attention(zero_b=100)
    made = laid_out_program(model, A53)
    set_aliases(made.program)
    assert fuse_value_products(made.program, processor_claims(A53)) is made.program
    made = laid_out_program(model, target)
    set_aliases(made.program)
    fused = processor_program(LaidOut(made.program, [], []), target)
    assert len(kinds(fused, IntegerBatchMultiply)) == 2
    feeds = random_feeds(model, 3)
    (found,) = outputs_of(fused, target, feeds)
    (reference,) = Reference(model)(feeds).values()
    np.testing.assert_array_equal(found.reshape(reference.shape), reference)
