"""Which operations of dynamic sizes GPUs get."""

import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pytest

from edgecomp.device.load import load_target
from edgecomp.lower.narrow_values import stored_as
from edgecomp.lower.select import find_gpu_schedule
from edgecomp.plan.attention import Attention, Softmax
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution, MatrixMultiply, PackedMatrixMultiply
from edgecomp.plan.reductions import LayerNorm, Pool
from edgecomp.plan.sizes import Size, Symbol
from edgecomp.plan.values import Halo, Order, Value
from edgecomp.resources import resource_folder
from edgecomp.schedules.gpu import softmax
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


def image(name, channels, halo=0):
    halos = Halo(halo, halo, halo, halo)
    return Value(name, (1, channels, N, N), "float32", Order.NHWC, halo=halos)


def convolution(window, *, halo=0, channels=256):
    """Of images without a halo around the output, and with one of the window's around the input."""
    if window == "column":  # which no padding moves: its pixels lie without gaps as well
        x, y = image("x", 32), image("y", channels)
        y.shape = (1, channels, N - 2, N)
        weight = constant(channels, 32, 3, 1)
        return Operation(Convolution(), [x, weight, constant(channels)], [y])
    x, y = image("x", 32, window // 2), image("y", channels, halo)
    weight = constant(channels, 32, window, window)
    kind = Convolution(pads=(window // 2,) * 4)
    return Operation(kind, [x, weight, constant(channels)], [y])


def average(dilation):
    kind = Pool(
        maximum=False, window=(3, 3), pads=(dilation,) * 4, dilations=(dilation, dilation)
    )
    return Operation(kind, [image("x", 8, dilation)], [image("y", 8)])


@pytest.mark.parametrize("api", ["opencl", "cuda"])
@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (average(1), ""),
        (average(2), "an average of dilated windows, of dynamic height or width"),
        (convolution(3), ""),
        (operation(Softmax(-1), (COUNTED, 3)), "sizes that the data decides"),
        (product(N, 8), ""),
        (product(COUNTED, 8), "sizes that the data decides"),
        (packed(N, 8), ""),
        (operation(Softmax(-1), (3, N)), ""),
        (attention(N, N, 8, 8), ""),
        (attention(6, 6, N, 8), "dynamic depth or columns"),
        (attention(6, 6, 8, N), "dynamic depth or columns"),
        (operation(LayerNorm(-1, 1e-5), (N, 8), constant(8), constant(8)), ""),
        (operation(LayerNorm(-2, 1e-5), (3, N, 8), constant(8), constant(8)), ""),
        (
            operation(LayerNorm(-2, 1e-5), (3, 8, N), constant(40), constant(40)),
            "rows with a dynamic dimension behind others",
        ),
    ],
)
def test_claims(api, found, reason):
    target = load_target({"opencl": "generic-opencl", "cuda": "cuda-sm90"}[api])
    schedule, refusals = find_gpu_schedule(found, target)
    assert (schedule is None) == bool(reason)
    assert not reason or any(reason in refusal for refusal in refusals)


@pytest.mark.parametrize(
    ("found", "is_one_run"),
    [
        (convolution(1), True),
        (convolution(1, halo=1), False),
        (convolution(3), False),
        (convolution("column"), False),
    ],
)
def test_some_kernels_are_for_pixels_without_gaps(found, is_one_run):
    """Those with tensor cores, and with tiles in shared memory where enough of them run."""
    target = load_target("cuda-sm90")
    gpu = dataclasses.replace(target.gpu, busy_items=64)
    _, refusals = find_gpu_schedule(found, dataclasses.replace(target, gpu=gpu, tf32=True))
    names = {reason.partition(":")[0] for reason in refusals if "height" in reason}
    own = {"cuda_tensor_product", "cuda_shared_product"}
    assert names == (set() if is_one_run else own)


def test_kernels_that_were_counted_are_taken(monkeypatch):
    """Their sizes are known when they are made, which is not done twice."""
    made = []

    def emit(operation, target):
        made.append(operation.output.stored)
        return softmax.emit(operation, target)

    target, found = load_target("generic-opencl"), operation(Softmax(-1), (3, N))
    schedule, _ = find_gpu_schedule(found, target)
    monkeypatch.setattr(schedule, "schedule", SimpleNamespace(match=softmax.match, emit=emit))
    for count in (1, 2):
        assert schedule.match(found, target) == ""
        (call,) = schedule.emit(found, target)
        assert made == ["float32"] * count
    assert call.kernel.symbol == softmax.emit(found, target)[0].kernel.symbol
    assert schedule.match(found, target) == ""
    with stored_as(found.outputs, "float16"):
        (narrow,) = schedule.emit(found, target)
    assert made[2:] == ["float32", "float16"]
    assert narrow.kernel.symbol != call.kernel.symbol


def test_apps_start_kernels_of_fixed_sizes():
    assert sized_schedules("metal") == sized_schedules("webgpu") == ()


def test_the_runtime_takes_as_many():
    header = resource_folder("runtime") / "include" / "edgecomp" / "model.h"
    (most,) = re.findall(r"#define EC_MAX_LAUNCH_CONSTANTS (\d+)", header.read_text())
    assert int(most) == MOST_SIZES
