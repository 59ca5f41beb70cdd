"""Which operations of dynamic sizes GPUs get."""

import re

import numpy as np
import pytest

from edgecomp.device.load import load_target
from edgecomp.lower.select import find_gpu_schedule
from edgecomp.plan.operations import (
    Attention,
    Gather,
    LayerNorm,
    MatrixMultiply,
    Operation,
    PackedMatrixMultiply,
    Softmax,
)
from edgecomp.plan.sizes import Size, Symbol
from edgecomp.plan.values import Value
from edgecomp.resources import resource_folder
from edgecomp.schedules.gpu.family import sized_schedules
from edgecomp.schedules.gpu.sizes import MOST_SIZES

N = Size.of(Symbol("n", 1, 40))
COUNTED = Size.of(Symbol("found", 0, 40, is_counted=True))


def constant(*shape):
    return Value("c", shape, "float32", constant=np.ones(shape, np.float32))


def operation(kind, shape, *more):
    x = Value("x", shape, "float32")
    return Operation(kind, [x, *more], [Value("y", shape, "float32")])


def product(*shape):
    weight = constant(8, 8)
    bias = constant(8)
    return operation(MatrixMultiply(), shape, weight, bias)


def packed(*shape):
    """A product with weights of 4 bits."""
    bias = constant(8)
    numbers = Value("n", (8, 8), "uint8", constant=np.ones((8, 8), np.uint8))
    more = [numbers, constant(1, 8), constant(1, 8), bias]
    return operation(PackedMatrixMultiply(bits=4, block=8), shape, *more)


def attention(rows, keys, depth, columns):
    shapes = (rows, depth), (keys, depth), (keys, columns), (rows, columns)
    q, k, v, y = (Value(n, s, "float32") for n, s in zip("qkvy", shapes, strict=True))
    kind = Attention(q=q.view, k=k.view, v=v.view, y=y.view, alpha=1.0)
    return Operation(kind, [q, k, v], [y])


@pytest.mark.parametrize("api", ["opencl", "cuda"])
@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (product(N, 8), ""),
        (product(COUNTED, 8), "sizes that the data decides"),
        (packed(N, 8), "packed_matrix_multiply: kernels of fixed sizes"),
        (operation(Softmax(-1), (3, N)), ""),
        (attention(N, N, 8, 8), ""),
        (attention(6, 6, N, 8), "dynamic depth or columns"),
        (attention(6, 6, 8, N), "dynamic depth or columns"),
        (operation(LayerNorm(-1, 1e-5), (N, 8), constant(8), constant(8)), ""),
        (operation(LayerNorm(-2, 1e-5), (N, 8), constant(8), constant(8)), "dynamic rows"),
    ],
)
def test_claims(api, found, reason):
    target = load_target({"opencl": "generic-opencl", "cuda": "cuda-sm90"}[api])
    schedule, refusals = find_gpu_schedule(found, target)
    assert (schedule is None) == bool(reason)
    assert not reason or any(reason in refusal for refusal in refusals)


def test_gather_from_a_dynamic_table():
    table, indices = Value("x", (N, 4), "float32"), Value("i", (3,), "int64")
    found = Operation(Gather(0), [table, indices], [Value("y", (3, 4), "float32")])
    schedule, refusals = find_gpu_schedule(found, load_target("generic-opencl"))
    assert schedule is None
    assert "opencl_gather: dynamic rows" in refusals


def test_apps_start_kernels_of_fixed_sizes():
    assert sized_schedules("metal") == sized_schedules("webgpu") == ()


def test_the_runtime_takes_as_many():
    header = resource_folder("runtime") / "include" / "edgecomp" / "model.h"
    (most,) = re.findall(r"#define EC_MAX_LAUNCH_CONSTANTS (\d+)", header.read_text())
    assert int(most) == MOST_SIZES
