"""One operation on the OpenCL device, compared by the tests of its schedules."""

import numpy as np

from edgecomp.device.load import load_target
from helpers.kernels import fill, read, run_calls

TARGET = load_target("generic-opencl")
#: In the output's halo before a kernel runs, and after.
_KEPT = 7


def compute(schedule, operation, arrays=(), halo_fill=0):
    """The output of an operation.

    Args:
        schedule: module that claims it.
        operation: inputs that are constants apart, one for each of ``arrays``.
        arrays: contents of the inputs, logical shapes.
        halo_fill: in the halos of the inputs.
    """
    assert schedule.match(operation, TARGET) == ""
    output = operation.output
    values = [value for value in operation.inputs if value.constant is None]
    buffers = {v: fill(v, a, halo_fill) for v, a in zip(values, arrays, strict=True)}
    buffers[output] = fill(output, np.zeros(output.shape, output.dtype), _KEPT)
    calls = schedule.emit(operation, TARGET)
    result = run_calls(calls, TARGET, buffers)[output]
    got = read(output, result)
    np.testing.assert_array_equal(fill(output, got, _KEPT), result)  # the halo is kept
    return got
