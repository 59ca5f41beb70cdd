"""Give every operation to the first schedule that claims it."""

import dataclasses

from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.lower.fallback import emit_fallback
from edgecomp.plan.operations import Fallback, Operation, Program, Reinterpret
from edgecomp.schedules.cpu.family import SCHEDULES
from edgecomp.schedules.schedule import KernelCall


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


def select(program: Program, target: Target) -> list[Selected]:
    """Choose a schedule for each operation that makes calls."""
    return [
        _select_one(operation, target)
        for operation in program.operations
        if not isinstance(operation.kind, Reinterpret)
    ]


def _select_one(operation: Operation, target: Target) -> Selected:
    if isinstance(operation.kind, Fallback):
        return Selected(operation, "fallback", emit_fallback(operation, target), ())
    refusals = []
    for schedule in SCHEDULES:
        reason = schedule.match(operation, target)
        if not reason:
            calls = schedule.emit(operation, target)
            return Selected(operation, schedule.NAME, calls, tuple(refusals))
        refusals.append(f"{schedule.NAME}: {reason}")
    name = type(operation.kind).__name__
    raise EdgecompError(
        Code.OPERATOR_UNSUPPORTED,
        f"no schedule takes this {name} on {target.name}\n  " + "\n  ".join(refusals),
        node=operation.nodes[0] if operation.nodes else "",
        source=operation.source,
        hint="this is a gap in edgecomp: please report it with the model's shapes",
    )
