"""Kernels for compute capability 7.2, by a compiler that still knows it.

What they compute is compared elsewhere, on this machine's processor; here they are what the device
would get.
"""

import dataclasses

import numpy as np
import pytest
from helpers.dense import Conv, make_float, make_integer, store_as
from helpers.heads import heads_of
from helpers.nvrtc import compile_for

from edgecomp.device.load import load_target
from edgecomp.lower.select import find_gpu_schedule
from edgecomp.plan.attention import Attention, IntegerAttention
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import BatchMatrixMultiply, IntegerBatchMultiply
from edgecomp.plan.values import Quantization, Value
from edgecomp.schedules.cuda.text import cuda_source

TARGET = load_target("jetson-xavier")


def of_float16(case, rng):
    operation, buffers, _ = make_float(case, rng, "float16")
    store_as("float16", operation, buffers)
    return operation


def of_float32(case, rng):
    return make_float(case, rng)[0]


def of_bytes(case, rng):
    return make_integer(case, TARGET, rng)[0]


def of_few_bytes(case, rng):
    """Too few channels for tensor cores."""
    return make_integer(dataclasses.replace(case, m=7), TARGET, rng)[0]


def of_two_quantized(shapes, rng):
    """A product of two values of 8 bits, whose zero points are taken off the sums."""
    del rng
    a, b = (
        Value(name, (12, *shape), "uint8", quantization=Quantization(0.5, zero))
        for name, shape, zero in zip("ab", shapes, (91, 128), strict=True)
    )
    y = Value("y", (12, shapes[0][0], shapes[1][1]), "uint8", quantization=Quantization(1, 7))
    kind = IntegerBatchMultiply(a=a.view, b=b.view, output=y.view, alpha=0.25)
    return Operation(kind, [a, b], [y])


def of_heads(sizes, rng):
    """Attention of float16: rows and keys, and elements of a head."""
    del rng
    return attention(*sizes, "float32", "float16", Attention, {})


def of_quantized_heads(sizes, rng):
    """Of 8 bits, as edgecomp quantizes them."""
    del rng
    weights = Quantization(float(np.float32(1 / 255)), 0)
    made = attention(*sizes, "uint8", "", IntegerAttention, {"beta": 0.01, "weights": weights})
    for value, zero in zip(made.inputs, (131, 128, 128), strict=True):
        value.quantization = Quantization(0.5, zero)
    made.output.dtype = "float32"
    return made


def attention(rows, each, dtype, storage, make, more):
    """Of 12 heads."""
    shape = (1, rows, 12 * each)
    values = [Value(name, shape, dtype, storage=storage) for name in "qkvy"]
    views = {value.name: heads_of(value, 12) for value in values}
    return Operation(make(**views, alpha=0.25, steps=(), **more), values[:3], values[3:])


def of_two_values(shapes, rng):
    """A product of two float16 values; b is turned where its last dimension is a's."""
    del rng
    a, b = (
        Value(name, (12, *shape), "float32", storage="float16")
        for name, shape in zip("ab", shapes, strict=True)
    )
    is_turned = shapes[0][1] == shapes[1][1]
    columns = shapes[1][0 if is_turned else 1]
    output = Value("y", (12, shapes[0][0], columns), "float32", storage="float16")
    return Operation(BatchMatrixMultiply(transpose_b=is_turned), [a, b], [output])


#: The schedule that is chosen, a maker of operations, and what it makes.
CASES = [
    (
        "cuda_tensor_product",
        of_float16,
        Conv(c=64, m=64, h=28, w=28, k=(3, 3), p=(1, 1, 1, 1)),
    ),
    ("cuda_tensor_product", of_float16, Conv(c=40, m=24, h=5, w=5)),
    ("cuda_tensor_batch_product", of_two_values, ((128, 64), (128, 64))),
    ("cuda_tensor_batch_product", of_two_values, ((127, 130), (130, 31))),
    ("cuda_tensor_product", of_bytes, Conv(c=64, m=64, h=28, w=28, finish="requantize")),
    ("cuda_tensor_product", of_bytes, Conv(c=512, m=40, h=5, w=5, finish="requantize")),
    ("cuda_tensor_batch_product", of_two_quantized, ((128, 64), (64, 128))),
    ("cuda_tensor_batch_product", of_two_quantized, ((9, 131), (131, 31))),
    ("cuda_tensor_attention", of_heads, (128, 32)),
    ("cuda_tensor_attention", of_heads, (197, 64)),
    ("cuda_tensor_attention", of_quantized_heads, (197, 64)),
    ("cuda_tensor_attention", of_quantized_heads, (40, 32)),
    ("cuda_dot_product", of_few_bytes, Conv(c=64, m=64, h=28, w=28, finish="requantize")),
    ("cuda_shared_product", of_float32, Conv(c=256, m=128, h=32, w=32)),
    ("cuda_depthwise", of_float32, Conv(c=32, m=32, g=32, k=(3, 3), p=(1, 1, 1, 1))),
]


@pytest.mark.parametrize(
    ("schedule", "make", "case"),
    CASES,
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_code(schedule, make, case):
    operation = make(case, np.random.default_rng(1))
    target = dataclasses.replace(TARGET, floats=operation.inputs[0].storage or "float32")
    chosen, _ = find_gpu_schedule(operation, target)
    assert schedule == chosen.NAME
    calls = chosen.emit(operation, target)
    (image,) = TARGET.gpu.images
    capability, kernels = compile_for(cuda_source([call.kernel for call in calls]), image)
    assert f"sm_{capability}" == image
    assert len(kernels) == len(calls)
    assert all(registers > 0 and not spilled for registers, spilled in kernels), kernels
