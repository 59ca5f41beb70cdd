"""All kernels worth measuring for an operation, whichever schedule makes them."""

import dataclasses
from collections.abc import Collection

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.schedules.cpu.family import SCHEDULES
from edgecomp.schedules.params import ParamsError
from edgecomp.schedules.schedule import KernelCall, TunableSchedule


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A schedule by name, and its parameters as text."""

    schedule: str
    params: str


def candidates(
    operation: Operation, target: Target, without: Collection[str] = ()
) -> list[Candidate]:
    """What can be measured, the kernel of an untuned build first.

    Empty where the schedule that claims the operation has no parameters.

    Args:
        operation: in its layout.
        target: the device.
        without: names of schedules that are not used.
    """
    allowed = [schedule for schedule in SCHEDULES if schedule.NAME not in without]
    own = next((s for s in allowed if not s.match(operation, target)), None)
    if not isinstance(own, TunableSchedule):
        return []
    others = [s for s in allowed if s is not own and isinstance(s, TunableSchedule)]
    return [
        Candidate(schedule.NAME, params)
        for schedule in (own, *others)
        for params in schedule.candidates(operation, target)
    ]


def emit_candidate(
    operation: Operation, target: Target, candidate: Candidate
) -> list[KernelCall]:
    """The calls of a candidate.

    Raises:
        ParamsError: there is no such schedule, or its parameters do not fit.
    """
    for schedule in SCHEDULES:
        if candidate.schedule == schedule.NAME and isinstance(schedule, TunableSchedule):
            return schedule.emit_candidate(operation, target, candidate.params)
    raise ParamsError(f"no tunable schedule is called '{candidate.schedule}'")
