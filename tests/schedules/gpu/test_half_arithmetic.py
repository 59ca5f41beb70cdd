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
from edgecomp.schedules.gpu import convolution, shared_product
from edgecomp.schedules.gpu.halves import HALF_RUN
from edgecomp.schedules.gpu.products import product_of
from edgecomp.schedules.gpu.shared_kernel import tile_for

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
#: Of tiles in local memory: a run of 16 and of 8, columns and rows that are no whole tile, groups.
SHARED = [
    Conv(c=48, m=37, h=9, w=11, k=(3, 3), p=(1, 1, 1, 1), residual=True, act=RELU),
    Conv(c=24, m=72, h=7, w=9),
    Conv(c=32, m=80, h=10, w=9, g=2),
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
@pytest.mark.parametrize(
    ("schedule", "case"),
    [*((convolution, case) for case in CASES), *((shared_product, case) for case in SHARED)],
    ids=lambda each: str(getattr(each, "NAME", each)),
)
def test_opencl(schedule, case):
    operation, buffers, want = stored_in_half(case)
    calls = schedule.emit(operation, TARGET)
    text = opencl_source([call.kernel for call in calls], GPU)
    assert ("__local half" in text) == (schedule is shared_product)
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
@pytest.mark.parametrize(
    ("schedule", "case"), [(convolution, CASES[1]), (shared_product, SHARED[0])]
)
def test_languages_of_apps(run, name, schedule, case):
    """On Metal's stand-in and on a Vulkan device that computes in half."""
    if name == "webgpu" and not has_f16():
        pytest.skip("the device has no shader-f16")
    operation, buffers, want = stored_in_half(case)
    target = dataclasses.replace(load_target(name), floats="float16")
    calls = schedule.emit(operation, target)
    found = read(operation.output, run(calls, buffers)[operation.output]).astype(float)
    assert np.abs(found - want).max() <= 3e-3 * np.abs(want).max()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the processor is no x86-64")
@pytest.mark.parametrize("row_texels", [None, 8], ids=["weights", "activations"])
def test_images_in_local_memory(row_texels):
    """The same of tiles that are brought there."""
    operation, buffers, _ = stored_in_half(SHARED[0])
    textures = GpuTextures(width=4096, height=4096, row_texels=row_texels)
    found = []
    for gpu in (GPU, dataclasses.replace(GPU, textures=textures)):
        calls = shared_product.emit(operation, dataclasses.replace(TARGET, gpu=gpu))
        text = opencl_source([call.kernel for call in calls], gpu)
        assert ("= EC_TEXEL_H(weights" in text) == (gpu is not GPU)
        assert ("= EC_TEXEL_H(x" in text) == (gpu is not GPU and row_texels is not None)
        found.append(run_opencl_on_cpu(calls, TARGET, buffers)[operation.output])
    np.testing.assert_array_equal(*found)


def test_few_products_at_a_time():
    """What of a tile is summed up in float16, and that it is no larger than a device's memory."""
    for case in SHARED:
        operation, _, _ = stored_in_half(case)
        product = product_of(operation)
        tile = tile_for(product, GPU, is_half=True)
        assert tile.is_half
        assert tile.depth <= HALF_RUN
        assert tile.local_bytes <= GPU.local_memory_bytes
        assert tile.registers <= GPU.registers
        assert tile.local_bytes < tile_for(product, GPU).local_bytes


def test_only_where_the_device_has_it():
    operation, _, _ = stored_in_half(CASES[0])
    for target, extensions in ((TARGET, ("cl_khr_fp16",)), (PLAIN, ())):
        kernels = [call.kernel for call in convolution.emit(operation, target)]
        text = opencl_source(kernels, target.gpu)
        assert extensions_of(text) == extensions
        assert ("cl_khr_fp16 : enable" in text) == bool(extensions)
