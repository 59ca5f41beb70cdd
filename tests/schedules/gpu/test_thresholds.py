"""Thresholds of a quantization: the least inputs of its results, for any scale and zero point."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.plan.operations import Operation
from edgecomp.plan.quantization import Quantize
from edgecomp.plan.values import Quantization, Value
from edgecomp.schedules.gpu.thresholds import thresholds_of


@given(
    scale=st.floats(2.0**-30, 2.0**30, width=32),
    dtype=st.sampled_from(["uint8", "int8"]),
    place=st.integers(0, 255),
)
def test_the_least_input_of_each_result(scale, dtype, place):
    limits = np.iinfo(dtype)
    point = int(limits.min) + place
    output = Value("y", (4,), dtype, quantization=Quantization(scale, point))
    found = thresholds_of(Operation(Quantize(), [Value("x", (4,), "float32")], [output]))
    assert found[0] == -np.inf
    assert found[-1] == np.inf
    least, wanted = found[1:-1], np.arange(limits.min + 1, limits.max + 1) - point
    below = np.nextafter(least, np.float32(-np.inf))
    assert (np.rint(least / np.float32(scale)) >= wanted).all()
    assert (np.rint(below / np.float32(scale)) < wanted).all()
