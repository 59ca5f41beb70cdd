"""The programs of a plan: kernels of its GPU, as its driver takes them."""

import math
import pathlib
from collections.abc import Sequence

from edgecomp.device.target import Gpu, Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.plan.plan import DEVICES, LaunchKind, PlanProgram
from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.schedule import KernelCall

#: Work items of a launch in all dimensions: the descriptor counts them in 32 bits.
_MOST_ITEMS = 2**32 - 1
#: Groups of a grid by dimension.
_MOST_GROUPS = {
    # CUDA C++ Programming Guide 13.0, Technical Specifications
    "cuda": (2**31 - 1, 65535, 65535),
    "webgpu": (65535,) * 3,  # W3C WebGPU, Limits: maxComputeWorkgroupsPerDimension
}


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
    for call in calls:
        check_launch(call, target.gpu)
    make = {"opencl": _opencl_program, "cuda": _cuda_program}[target.gpu.api]
    return (make(kernels, target.gpu, cache),)


def check_launch(call: KernelCall, gpu: Gpu) -> None:
    """Refuse what no device of the target starts: schedules choose groups, shapes their number."""
    launch = call.launch
    if launch is None or launch.kind is not LaunchKind.KERNEL:
        return
    items = math.prod(launch.local_sizes)
    if items > gpu.most_group_items:
        raise EdgecompError(
            Code.INTERNAL, f"{call.kernel.symbol} has {items} work items in a group"
        )
    whole_grid = math.prod(launch.global_sizes)
    if whole_grid > _MOST_ITEMS:
        raise EdgecompError(
            Code.OPERATOR_UNSUPPORTED,
            f"a kernel ({call.kernel.symbol}) has {whole_grid} work items, a launch at most "
            f"{_MOST_ITEMS}",
            hint="build for smaller images or batches",
        )
    most = _MOST_GROUPS.get(gpu.api, (_MOST_ITEMS,) * 3)
    for axis, (whole, group) in enumerate(
        zip(launch.global_sizes, launch.local_sizes, strict=True)
    ):
        if whole // group > most[axis]:
            raise EdgecompError(
                Code.OPERATOR_UNSUPPORTED,
                f"a kernel ({call.kernel.symbol}) has {whole // group} groups of work items "
                f"in dimension {axis}, the device starts {most[axis]}",
                hint="build for smaller images or batches",
            )


def _opencl_program(kernels: Sequence[Kernel], gpu: Gpu, _cache: pathlib.Path) -> PlanProgram:
    from edgecomp.lower.device_source import extensions_of, opencl_source

    text = opencl_source(kernels, gpu)
    return PlanProgram(text, gpu.version, extensions=extensions_of(text))


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
