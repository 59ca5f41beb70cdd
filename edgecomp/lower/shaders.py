"""A plan for a GPU that an app drives by itself: kernels as text, calls by the names in it."""

import dataclasses
from collections.abc import Collection, Sequence

from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.lower.device_programs import check_launch
from edgecomp.plan.plan import APP_LANGUAGES, Plan, PlanCall, ShaderCall, ShaderPlan, Storage
from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.schedule import KernelCall
from edgecomp.schedules.shader.metal import metal_source, stored_parameters
from edgecomp.schedules.shader.wgsl import Use, wgsl_source
from edgecomp.schedules.text.language import NoTextError


def is_for_app(target: Target, accelerators: Collection[str]) -> bool:
    """Whether a bundle gets kernels for an app's own GPU code."""
    if target.gpu is None or (accelerators and "gpu" not in accelerators):
        return False
    return target.gpu.api in APP_LANGUAGES


def require_whole(target: Target, accelerators: Collection[str], *, cpu_plan: bool) -> None:
    """Refuse options under which one of the two plans would not be whole.

    Raises:
        EdgecompError: USAGE.
    """
    if not cpu_plan:
        raise EdgecompError(
            Code.USAGE,
            f"--no-cpu-plan: all that the library of a bundle for '{target.name}' can run is the "
            "CPU plan",
            hint="build with it: the kernels for the GPU are text beside the library",
        )
    if "cpu" in accelerators:
        raise EdgecompError(
            Code.USAGE,
            f"--accelerator cpu,gpu: an app's own GPU code ('{target.name}') computes the whole "
            "model",
            hint="--accelerator gpu, or cpu for a bundle without kernels for the GPU",
        )


def with_shaders(plan: Plan, calls: Sequence[KernelCall], target: Target) -> Plan:
    """The plan of the processor with that of the GPU beside it.

    Args:
        plan: of the GPU alone, with a CPU plan.
        calls: the kernels of its calls, in order.
        target: device.

    Raises:
        EdgecompError: OPERATOR_UNSUPPORTED where the device cannot start a kernel.
    """
    assert target.gpu is not None
    for call in calls:
        check_launch(call, target.gpu)
    kernels = [call.kernel for call in calls]
    language = APP_LANGUAGES[target.gpu.api]
    text, made = (_metal if language == "metal" else _wgsl)(plan, kernels)
    own = dataclasses.replace(plan, cpu_plan=None)
    shaders = ShaderPlan(language, text, own, made, target.gpu.alignment_bytes)
    # A model without calls has no plan of the processor's own.
    return dataclasses.replace(plan.cpu_plan or own, shaders=shaders)


def _metal(plan: Plan, kernels: Sequence[Kernel]) -> tuple[str, tuple[ShaderCall, ...]]:
    """Every parameter is a buffer of its own number; two may be the same memory."""
    made = []
    for call, kernel in zip(plan.calls, kernels, strict=True):
        written = stored_parameters(kernel)
        made.append(ShaderCall(kernel.symbol, call.arguments, written))
    return metal_source(kernels), tuple(made)


def _wgsl(plan: Plan, kernels: Sequence[Kernel]) -> tuple[str, tuple[ShaderCall, ...]]:
    """Parameters that are one tensor share a binding; weights are bound to be read."""
    uses: dict[tuple[str, tuple[int, ...], tuple[int, ...]], Use] = {}
    numbers: dict[str, int] = {}
    made = []
    for call, kernel in zip(plan.calls, kernels, strict=True):
        tensors = tuple(dict.fromkeys(call.arguments))
        bindings = tuple(tensors.index(argument) for argument in call.arguments)
        is_read = tuple(plan.tensors[t].storage is Storage.WEIGHTS for t in tensors)
        read_only = tuple(number for number, is_weight in enumerate(is_read) if is_weight)
        key = (kernel.symbol, bindings, read_only)
        if key not in uses:
            number = numbers[kernel.symbol] = numbers.get(kernel.symbol, 0) + 1
            entry = kernel.symbol if number == 1 else f"{kernel.symbol}_{number}"
            uses[key] = Use(entry, kernel.symbol, bindings, read_only)
        made.append(ShaderCall(uses[key].entry, tensors, tuple(not r for r in is_read)))
    try:
        return wgsl_source(kernels, uses.values()), tuple(made)
    except NoTextError as error:
        raise _no_text(plan.calls, error) from error


def _no_text(calls: Sequence[PlanCall], error: NoTextError) -> EdgecompError:
    shared = [call for call in calls if len(set(call.arguments)) < len(call.arguments)]
    return EdgecompError(
        Code.OPERATOR_UNSUPPORTED,
        f"WGSL has no text for a kernel that gets one tensor twice: {error}",
        node=", ".join(shared[0].nodes) if shared else "",
        hint="report the gap with the model's shapes",
    )
