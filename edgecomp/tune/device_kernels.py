"""Times of a GPU's kernels in the whole model, for placement by cost.

A GPU's schedules have no parameters to choose from: each layer has one kernel, and what it takes is
measured where it is used, by the device's own clock. The layer's entry in the table has the name of
that schedule and no parameters.
"""

from collections.abc import Sequence

import onnx_ir as ir

from edgecomp.bench.device import Device
from edgecomp.bench.statistics import summarize
from edgecomp.device.target import Target
from edgecomp.lower.lower import lower
from edgecomp.plan.plan import LaunchKind, Plan, PlanCall, Storage
from edgecomp.progress import Progress
from edgecomp.schedules.cost_table import CostTable, Measured
from edgecomp.tune.layers import ModelLayers
from edgecomp.tune.measure import WARMUP_ROUNDS, MeasureSettings, profile, running


def measure_device_kernels(
    model: ir.Model,
    found: ModelLayers,
    table: CostTable,
    target: Target,
    device: Device,
    settings: MeasureSettings,
    progress: Progress,
) -> int:
    """Run the model with all that the GPU can compute and put its layers' times into the table.

    Returns:
        Kinds of layers that were measured; 0 where the GPU computes none.

    Raises:
        EdgecompError: DEVICE_FAILED where the GPU or its driver is missing, and what devices raise.
    """
    progress("build the model for the GPU")
    lowered = lower(
        model,
        target,
        name="tune",
        accelerators=("gpu",),
        cpu_plan=False,
        cache=settings.cache,
    )
    calls = _calls_by_layer(lowered.plan, found)
    if not calls:
        return 0
    rounds = WARMUP_ROUNDS + settings.rounds
    times: list[list[int]] = []
    with running(lowered.plan, target, device, settings) as process:
        for number in range(rounds):
            progress("measure the GPU's kernels", number, rounds)
            times.append(profile(process))
    for layer, numbers in calls.items():
        table.add(_measured(layer, lowered.plan, numbers, times[WARMUP_ROUNDS:]))
    return len(calls)


def _calls_by_layer(plan: Plan, found: ModelLayers) -> dict[str, list[int]]:
    """Signature -> the GPU's calls of the first operation that has it."""
    first: dict[str, tuple[str, ...]] = {}
    calls: dict[str, list[int]] = {}
    for number, call in enumerate(plan.calls):
        layer = found.signatures.get(call.nodes)
        if layer is None or not _is_kernel(call):
            continue
        if first.setdefault(layer, call.nodes) == call.nodes:
            calls.setdefault(layer, []).append(number)
    return calls


def _is_kernel(call: PlanCall) -> bool:
    return call.launch is not None and call.launch.kind is LaunchKind.KERNEL


def _measured(
    layer: str, plan: Plan, numbers: Sequence[int], times: Sequence[Sequence[int]]
) -> Measured:
    summary = summarize([sum(own[number] for number in numbers) for own in times])
    constants = {
        index
        for number in numbers
        for index in plan.calls[number].arguments
        if plan.tensors[index].storage is Storage.WEIGHTS
    }
    nanoseconds = max(1, round(summary.p25_ns))
    return Measured(
        layer=layer,
        schedule=plan.calls[numbers[0]].schedule,
        params="",
        ns=nanoseconds,
        spread=round(summary.spread, 3),
        runs=summary.runs,
        constant_bytes=sum(plan.tensors[index].bytes for index in constants),
        in_model_ns=nanoseconds,
    )
