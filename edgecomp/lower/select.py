"""Give every operation to the first schedule that claims it."""

import dataclasses
from collections.abc import Collection

from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.lower.fallback import emit_fallback
from edgecomp.plan.operations import Fallback, Operation, Program, Reinterpret
from edgecomp.schedules.cpu.family import SCHEDULES
from edgecomp.schedules.schedule import KernelCall, Schedule

#: What the coverage report calls an operation that no schedule claimed.
FALLBACK = "fallback"


@dataclasses.dataclass(frozen=True)
class Selected:
    """An operation with the kernel calls that compute it.

    Attributes:
        schedule: name of the schedule, "fallback" where none claimed it.
        refusals: "schedule: reason" of those that were asked first.
    """

    operation: Operation
    schedule: str
    calls: list[KernelCall]
    refusals: tuple[str, ...]


def select(program: Program, target: Target, without: Collection[str] = ()) -> list[Selected]:
    """Choose a schedule for each operation that makes calls.

    Args:
        program: operations in their layout.
        target: device.
        without: names of schedules that are not asked.
    """
    return [
        _select_one(operation, target, without)
        for operation in program.operations
        if not isinstance(operation.kind, Reinterpret)
    ]


def _select_one(operation: Operation, target: Target, without: Collection[str]) -> Selected:
    if isinstance(operation.kind, Fallback):
        return Selected(operation, FALLBACK, emit_fallback(operation, target), ())
    schedule, refusals = find_schedule(operation, target, without)
    if schedule is None:
        raise _unclaimed(operation, target, refusals)
    calls = schedule.emit(operation, target)
    return Selected(operation, schedule.NAME, calls, tuple(refusals))


def find_schedule(
    operation: Operation, target: Target, without: Collection[str] = ()
) -> tuple[Schedule | None, list[str]]:
    """The first schedule that claims an operation, and why those before it did not."""
    refusals: list[str] = []
    for schedule in SCHEDULES:
        if schedule.NAME in without:
            refusals.append(f"{schedule.NAME}: excluded")
            continue
        reason = schedule.match(operation, target)
        if not reason:
            return schedule, refusals
        refusals.append(f"{schedule.NAME}: {reason}")
    return None, refusals


def _unclaimed(operation: Operation, target: Target, refusals: list[str]) -> EdgecompError:
    name = type(operation.kind).__name__
    return EdgecompError(
        Code.OPERATOR_UNSUPPORTED,
        "\n  ".join([f"no schedule takes this {name} on {target.name}", *refusals]),
        node=operation.nodes[0] if operation.nodes else "",
        source=operation.source,
        hint="this is a gap in edgecomp: please report it with the model's shapes",
    )
