"""One operation as GPUs compute it, compared by the tests of their schedules.

``api`` says how: as OpenCL on this machine's device, as CUDA C or Metal on its processor, or as WGSL on its
Vulkan device. The folder's conftest runs every test for each.
"""

import dataclasses

import numpy as np
import pytest

from edgecomp.device.load import load_target
from edgecomp.schedules.gpu.family import gpu_schedules
from helpers.kernels import fill, read, run_calls


def _without_halves(target):
    """What is stored in 16 bits is then computed in 32, as on the others."""
    features = target.gpu.features - {"fp16"}
    return dataclasses.replace(target, gpu=dataclasses.replace(target.gpu, features=features))


TARGETS = {
    "opencl": load_target("generic-opencl"),
    "cuda": load_target("cuda-sm90"),
    "metal": _without_halves(load_target("apple-gpu")),
    "webgpu": _without_halves(load_target("webgpu")),
}
#: In the output's halo before a kernel runs, and after.
_KEPT = 7

_api = ["opencl"]


def use_api(name):
    """What ``compute`` runs from now on."""
    _api[0] = name


def current_target():
    """The target that is tested now."""
    return TARGETS[_api[0]]


def compute(schedule, operation, arrays=(), halo_fill=0):
    """The output of an operation.

    Args:
        schedule: module that claims it.
        operation: inputs that are constants apart, one for each of ``arrays``.
        arrays: contents of the inputs, logical shapes.
        halo_fill: in the halos of the inputs.
    """
    target = current_target()
    assert schedule.match(operation, target) == ""
    _skip_without_text(schedule, operation, target)
    output = operation.output
    values = [value for value in operation.inputs if value.constant is None]
    buffers = {v: fill(v, a, halo_fill) for v, a in zip(values, arrays, strict=True)}
    buffers[output] = fill(output, np.zeros(output.shape, output.stored), _KEPT)
    calls = schedule.emit(operation, target)
    result = run_calls(calls, target, buffers)[output]
    got = read(output, result)
    np.testing.assert_array_equal(fill(output, got, _KEPT), result)  # the halo is kept
    return got


def _skip_without_text(schedule, operation, target):
    """WGSL has not all types; operations that need others are not claimed."""
    names = [f"{target.gpu.api}_{name}" for name in (schedule.NAME,)]
    for other in gpu_schedules(target.gpu.api):
        if other.NAME in names and (reason := other.match(operation, target)):
            pytest.skip(reason)
