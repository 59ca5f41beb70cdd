"""The programs of a plan: kernels of its GPU, as its driver takes them."""

import pathlib
from collections.abc import Sequence

from edgecomp.device.target import Gpu, Target
from edgecomp.plan.plan import DEVICES, LaunchKind, PlanProgram
from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.schedule import KernelCall


def device_programs(
    calls: Sequence[KernelCall], target: Target, cache: pathlib.Path
) -> tuple[PlanProgram, ...]:
    """One program with the kernels of all calls for the target's GPU; none without such calls.

    Args:
        calls: all of them.
        target: device.
        cache: folder where compiled kernels are kept.

    Raises:
        EdgecompError: TOOLCHAIN_MISSING, TOOLCHAIN_FAILED.
    """
    kernels = [
        call.kernel for call in calls if call.launch and call.launch.kind is LaunchKind.KERNEL
    ]
    if not kernels:
        return ()
    assert target.gpu is not None
    make = {"opencl": _opencl_program, "cuda": _cuda_program}[target.gpu.api]
    return (make(kernels, target.gpu, cache),)


def _opencl_program(kernels: Sequence[Kernel], gpu: Gpu, _cache: pathlib.Path) -> PlanProgram:
    from edgecomp.lower.device_source import opencl_source

    return PlanProgram(opencl_source(kernels, gpu), gpu.version)


def _cuda_program(kernels: Sequence[Kernel], gpu: Gpu, cache: pathlib.Path) -> PlanProgram:
    """The driver has to be of the compiler's own generation, or a later one."""
    from edgecomp.lower.nvcc import compile_images
    from edgecomp.schedules.cuda.text import cuda_source

    text = cuda_source(kernels)
    binary, nvcc_version = compile_images(text, gpu.images, cache)
    return PlanProgram(
        text,
        max(gpu.version, nvcc_version // 100 * 100),
        options=" ".join(gpu.images),
        device=DEVICES["cuda"],
        binary=binary,
    )
