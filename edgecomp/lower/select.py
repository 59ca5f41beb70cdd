"""Give every operation to the first schedule that claims it."""

import dataclasses
import re
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

    Raises:
        EdgecompError: OPERATOR_UNSUPPORTED listing every operation that none takes.
    """
    selected: list[Selected] = []
    unclaimed: list[tuple[Operation, list[str]]] = []
    for operation in program.operations:
        if isinstance(operation.kind, Reinterpret):
            continue
        if isinstance(operation.kind, Fallback):
            calls = emit_fallback(operation, target)
            selected.append(Selected(operation, FALLBACK, calls, ()))
            continue
        schedule, refusals = find_schedule(operation, target, without)
        if schedule is None:
            unclaimed.append((operation, refusals))
        elif not unclaimed:
            calls = schedule.emit(operation, target)
            selected.append(Selected(operation, schedule.NAME, calls, tuple(refusals)))
    if unclaimed:
        raise _unclaimed(unclaimed, target)
    return selected


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


def telling(refusals: list[str]) -> list[str]:
    """The reasons of schedules of the operation's kind; the others say "not a ..."."""
    own = [r for r in refusals if not re.match(r"\w+: (not an? |neither )", r)]
    return own or refusals


def _unclaimed(unclaimed: list[tuple[Operation, list[str]]], target: Target) -> EdgecompError:
    count = len(unclaimed)
    head = f"{count} operation{'s have' if count > 1 else ' has'} no schedule on {target.name}"
    lines = [
        f"{type(operation.kind).__name__} '{', '.join(operation.nodes)}'"
        f"{' at ' + operation.source if operation.source else ''}: {'; '.join(telling(refusals))}"
        for operation, refusals in unclaimed
    ]
    first = unclaimed[0][0]
    return EdgecompError(
        Code.OPERATOR_UNSUPPORTED,
        "\n  ".join([head, *lines]),
        node=first.nodes[0] if first.nodes else "",
        source=first.source,
        hint="rewrite these operators in float32, or report the gap with the model's shapes",
    )
