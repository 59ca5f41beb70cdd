"""What each operation of a program costs on the processor and on the GPU of a target."""

import dataclasses
from collections.abc import Collection

from edgecomp.device.target import GpuSpeed, Target
from edgecomp.lower.gpu_price import gpu_seconds
from edgecomp.lower.narrow_values import narrow_values, stored_as
from edgecomp.lower.place_by_cost import Prices
from edgecomp.lower.price import price_program
from edgecomp.lower.select import find_gpu_schedule, why_refused
from edgecomp.plan.movement import Reinterpret
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.values import Value
from edgecomp.schedules.cost_table import CostTable
from edgecomp.schedules.cpu.dynamic.family import is_dynamic_operation
from edgecomp.schedules.cpu.dynamic.largest import Twin


def price_devices(
    program: Program,
    target: Target,
    speed: GpuSpeed,
    without: Collection[str] = (),
    table: CostTable | None = None,
) -> list[Prices]:
    """Prices of the operations that make calls, in order; measured ones before modelled ones.

    Those of dynamic sizes have the prices of the largest.

    Args:
        program: in its layout.
        target: with a GPU.
        speed: of the GPU.
        without: names of schedules that are not used.
        table: measured kernels of the processor and of the GPU.
    """
    twins = [Twin(o) if is_dynamic_operation(o) else None for o in program.operations]
    at_largest = [
        operation if twin is None else twin.operation
        for operation, twin in zip(program.operations, twins, strict=True)
    ]
    sized = dataclasses.replace(program, operations=at_largest)
    on_processor, _ = price_program(sized, target, table, without)
    busy_items = target.gpu.busy_items if target.gpu is not None else 1
    narrow: list[Value] = []
    if target.floats != "float32":  # as if the GPU took all that it can
        narrow = narrow_values(program, target, without)
        narrow += [v for twin in twins if twin is not None for v in twin.twins_of(narrow)]
    prices = []
    for operation, largest, price in zip(
        program.operations, at_largest, on_processor, strict=True
    ):
        if isinstance(operation.kind, Reinterpret):
            continue
        schedule, refusals = find_gpu_schedule(operation, target, without)
        seconds, measured = None, ["processor"] if price.measured is not None else []
        if schedule is not None:
            seconds = _measured(largest, target, schedule.NAME, table, speed)
            measured += ["gpu"] if seconds is not None else []
            if seconds is None:
                with stored_as(narrow, target.floats):
                    seconds = gpu_seconds(largest, speed, busy_items)
        prices.append(
            Prices(
                operation,
                price.modelled if price.measured is None else price.measured,
                seconds,
                why_refused(refusals) if schedule is None else "",
                ", ".join(measured),
            )
        )
    return prices


def _measured(
    operation: Operation,
    target: Target,
    schedule: str,
    table: CostTable | None,
    speed: GpuSpeed,
) -> float | None:
    """Seconds of a GPU's schedule, None where nobody has measured it.

    The device's clock does not see what the driver needs for the call.
    """
    known = table.fastest_of(operation, target, (schedule,)) if table else None
    return None if known is None else known.time_ns * 1e-9 + speed.launch_us * 1e-6
