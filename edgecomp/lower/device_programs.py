"""The programs of a plan: what its GPU's driver compiles."""

from collections.abc import Sequence

from edgecomp.device.target import Target
from edgecomp.plan.plan import LaunchKind, PlanProgram
from edgecomp.schedules.schedule import KernelCall


def device_programs(calls: Sequence[KernelCall], target: Target) -> tuple[PlanProgram, ...]:
    """One program with the kernels of all calls for the target's GPU; none without such calls."""
    kernels = [
        call.kernel for call in calls if call.launch and call.launch.kind is LaunchKind.KERNEL
    ]
    if not kernels:
        return ()
    from edgecomp.lower.device_source import opencl_source

    assert target.gpu is not None
    return (PlanProgram(opencl_source(kernels, target.gpu), target.gpu.version),)
