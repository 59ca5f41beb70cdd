"""Which schedules a GPU's interface has, and what all of them refuse. Needs no device."""

import dataclasses

import numpy as np
import pytest
from helpers.gpu import TARGETS

from edgecomp.lower.select import find_gpu_schedule, why_refused
from edgecomp.plan.finish import Requantize, Scale
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution, MatrixMultiply
from edgecomp.plan.quantization import Dequantize, Quantize
from edgecomp.plan.reductions import Cumulative, Pool, Reduce
from edgecomp.plan.values import Order, Quantization, Value
from edgecomp.schedules.gpu.family import gpu_schedules

IMAGE = (1, 8, 6, 6)
REQUANTIZE = Requantize(np.array([0.01], np.float32), 0, 0, 127)


def image(name, dtype, shape=IMAGE):
    return Value(
        name, shape, dtype, order=Order.NHWC, quantization=Quantization(np.float32(0.1), 0)
    )


def constants(*shape):
    weight = np.ones(shape, np.int8)
    bias = np.zeros(shape[0], np.int32)
    return (
        Value("w", shape, "int8", constant=weight),
        Value("b", bias.shape, "int32", constant=bias),
    )


def product(dtype):
    kind = MatrixMultiply(finish=Scale(np.array([0.01], np.float32)))
    values = [Value("x", (4, 8), dtype), *constants(8, 8)]
    return Operation(kind, values, [Value("y", (4, 8), "float32")])


def of_integers(dtype):
    """An operation of each kind whose integers have so many bits, by name."""
    x, y = image("x", dtype), image("y", dtype)
    floats = image("f", "float32")
    window = Convolution(finish=REQUANTIZE)
    mean = Reduce(operator="ReduceMean", axes=(2, 3), requantize=REQUANTIZE)
    return {
        "convolution": Operation(window, [x, *constants(8, 8, 1, 1)], [y]),
        "product": product(dtype),
        "maximum": Operation(
            Pool(maximum=True, window=(2, 2), strides=(2, 2)),
            [x],
            [image("p", dtype, (1, 8, 3, 3))],
        ),
        "mean": Operation(mean, [x], [image("m", dtype, (1, 8, 1, 1))]),
        "quantize": Operation(Quantize(), [floats], [y]),
        "dequantize": Operation(Dequantize(), [x], [floats]),
    }


def halves(target):
    """The target with floats of 16 bits, for which schedules are asked in another order."""
    return dataclasses.replace(target, floats="float16")


@pytest.mark.parametrize("name", of_integers("int16"))
@pytest.mark.parametrize("api", TARGETS)
def test_integers_of_16_bits_are_refused_with_a_reason(api, name):
    for target in (TARGETS[api], halves(TARGETS[api])):
        schedule, refusals = find_gpu_schedule(of_integers("int16")[name], target)
        assert schedule is None
        # By the one that claims the same in 8 bits, whatever special ones say.
        said = why_refused(refusals).partition(": ")[2]
        assert said == "16-bit integers are computed by the processor"
    # The same in 8 bits is the GPU's, so that the refusal is for nothing else.
    bytes_ = of_integers(TARGETS[api].activation_dtype)[name]
    schedule, refusals = find_gpu_schedule(bytes_, TARGETS[api])
    assert schedule is not None, refusals


@pytest.mark.parametrize("api", TARGETS)
def test_an_operation_that_no_schedule_is_for(api):
    """One line, not what each schedule is for."""
    kind = Cumulative(axis=1)
    total = Operation(kind, [Value("x", (4, 8), "float32")], [Value("y", (4, 8), "float32")])
    schedule, refusals = find_gpu_schedule(total, TARGETS[api])
    assert schedule is None
    assert len(refusals) == len(gpu_schedules(api))
    assert why_refused(refusals) == "no schedule is for operations of its kind"


@pytest.mark.parametrize("api", TARGETS)
def test_tensor_cores_are_for_cuda(api):
    names = [schedule.NAME for schedule in gpu_schedules(api)]
    assert ("cuda_tensor_product" in names) is (api == "cuda")
