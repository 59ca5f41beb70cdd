"""Products that devices with ``fp16`` form in half, a few at a time, on this machine's processor.

No OpenCL driver here computes in half, so that the text is compiled by clang.
"""

import dataclasses
import platform

import numpy as np
import pytest
from helpers.cuda import run_cuda_calls
from helpers.dense import RELU, Conv, halo_untouched, make_float, store_as
from helpers.kernels import read
from helpers.metal import run_metal_calls
from helpers.opencl_on_cpu import run_opencl_on_cpu
from helpers.webgpu import has_f16, run_webgpu_calls

from edgecomp.device.load import load_target
from edgecomp.device.target import GpuTextures
from edgecomp.lower.device_source import extensions_of, opencl_source
from edgecomp.schedules.gpu import convolution

PLAIN = load_target("generic-opencl")
GPU = dataclasses.replace(PLAIN.gpu, features=frozenset({"fp16"}))
TARGET = dataclasses.replace(PLAIN, gpu=GPU, floats="float16")
#: Ends of K within a run of float16, within a vector and in it; windows and groups; many sums.
CASES = [
    Conv(c=16, m=8, h=3, w=5),
    Conv(c=39, m=9, h=3, w=5, act=RELU, residual=True),
    Conv(c=6, m=4, h=5, w=6, k=(3, 3), p=(1, 1, 1, 1), g=2),
    Conv(c=515, m=12, h=2, w=7),
]


def stored_in_half(case):
    operation, buffers, want = make_float(case, np.random.default_rng(5), "float16")
    store_as("float16", operation, buffers)
    return operation, buffers, want


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the processor is no x86-64")
@pytest.mark.parametrize("row_texels", [None, 8], ids=["weights", "activations"])
@pytest.mark.parametrize("case", [*CASES, Conv(c=20, m=8, h=4, w=5, k=(3, 3))], ids=str)
def test_images(case, row_texels):
    """Texels of half: the results are those of buffers, bit by bit."""
    operation, buffers, _ = stored_in_half(case)
    textures = GpuTextures(width=4096, height=4096, row_texels=row_texels)
    gpu = dataclasses.replace(GPU, textures=textures)
    found = []
    for target in (TARGET, dataclasses.replace(TARGET, gpu=gpu)):
        calls = convolution.emit(operation, target)
        text = opencl_source([call.kernel for call in calls], target.gpu)
        has_images = target.gpu.textures is not None
        assert ("= EC_TEXEL_H(weights" in text) == has_images
        in_fours = case.c // case.g % 4 == 0
        assert ("= EC_TEXEL_H(x" in text) == (
            has_images and in_fours and row_texels is not None
        )
        found.append(run_opencl_on_cpu(calls, target, buffers)[operation.output])
    np.testing.assert_array_equal(*found)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the processor is no x86-64")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_opencl(case):
    operation, buffers, want = stored_in_half(case)
    calls = convolution.emit(operation, TARGET)
    result = run_opencl_on_cpu(calls, TARGET, buffers)[operation.output]
    found = read(operation.output, result).astype(float)
    # A run of 16 loses a few units of 2**-11 of its own size, which is less than the sum's.
    assert np.abs(found - want).max() <= 3e-3 * np.abs(want).max()
    assert halo_untouched(operation.output, result)
    # The records are the same for other interfaces; theirs rounds products and sums at once.
    other = run_cuda_calls(calls, buffers)[operation.output]
    other = read(operation.output, other).astype(float)
    assert np.abs(other - found).max() <= 3e-3 * np.abs(want).max()


@pytest.mark.parametrize(
    ("run", "name"), [(run_metal_calls, "apple-gpu"), (run_webgpu_calls, "webgpu")]
)
def test_languages_of_apps(run, name):
    """On Metal's stand-in and on a Vulkan device that computes in half."""
    if name == "webgpu" and not has_f16():
        pytest.skip("the device has no shader-f16")
    case = CASES[1]
    operation, buffers, want = stored_in_half(case)
    target = dataclasses.replace(load_target(name), floats="float16")
    calls = convolution.emit(operation, target)
    found = read(operation.output, run(calls, buffers)[operation.output]).astype(float)
    assert np.abs(found - want).max() <= 3e-3 * np.abs(want).max()


def test_only_where_the_device_has_it():
    operation, _, _ = stored_in_half(CASES[0])
    for target, extensions in ((TARGET, ("cl_khr_fp16",)), (PLAIN, ())):
        kernels = [call.kernel for call in convolution.emit(operation, target)]
        text = opencl_source(kernels, target.gpu)
        assert extensions_of(text) == extensions
        assert ("cl_khr_fp16 : enable" in text) == bool(extensions)
