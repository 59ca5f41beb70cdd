"""Bytes of what a bundle has, by kind."""

import pathlib

from edgecomp.bundle import elf
from edgecomp.bundle.build import Built
from edgecomp.plan.plan import Plan, Storage


def sizes_of(
    plan: Plan, built: Built, weights_bytes: int, model: pathlib.Path
) -> dict[str, int]:
    """Kind -> bytes. Kernels, runtime and descriptor count code and data, not object files.

    Args:
        plan: with its objects.
        built: libraries.
        weights_bytes: of the weights file.
        model: the portable model, in the bundle's folder.
    """
    sizes = {
        "weights": weights_bytes,
        "kernels": sum(elf.loaded_bytes(content) for content in plan.objects.values()),
        "portable_model": model.stat().st_size,
    }
    if plan.cpu_plan:
        sizes |= _cpu_plan_sizes(plan, plan.cpu_plan)
    if plan.shaders:
        sizes["shaders"] = len(plan.shaders.text.encode())
    if built.facts.shared:
        sizes["runtime"] = built.runtime_bytes
        sizes["descriptor"] = built.descriptor_bytes
        sizes["shared_library"] = (model.parent / built.facts.shared).stat().st_size
        sizes["static_library"] = (model.parent / built.facts.static).stat().st_size
        sizes["runner"] = (model.parent / built.facts.runner).stat().st_size
    return sizes


def _cpu_plan_sizes(plan: Plan, cpu_plan: Plan) -> dict[str, int]:
    """What of the weights and kernels nothing but the CPU plan uses."""
    own, others = (
        {t.offset_bytes: t.bytes for t in each.tensors if t.storage is Storage.WEIGHTS}
        for each in (plan, cpu_plan)
    )
    kernels = {call.kernel for call in cpu_plan.calls} - {call.kernel for call in plan.calls}
    return {
        "weights_of_cpu_plan": sum(
            size for offset, size in others.items() if offset not in own
        ),
        "kernels_of_cpu_plan": sum(elf.loaded_bytes(plan.objects[k]) for k in kernels),
    }
