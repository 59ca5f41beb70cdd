"""Give every operation to the kernel measured to be fastest, else to the first that claims it."""

import dataclasses
import logging
import re
from collections.abc import Collection, Mapping, Sequence

from edgecomp.buffers import forget
from edgecomp.device.gpu_file import APIS
from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.lower.fallback import emit_fallback
from edgecomp.lower.plan_weights import PlanWeights
from edgecomp.lower.take_constants import ConstantTaker, Taken
from edgecomp.plan.movement import Reinterpret
from edgecomp.plan.operations import Fallback, Operation, Program
from edgecomp.schedules.candidates import Candidate, emit_candidate
from edgecomp.schedules.cost_table import CostTable, Measured
from edgecomp.schedules.cpu.dynamic.family import find_dynamic_schedule, is_dynamic_operation
from edgecomp.schedules.cpu.family import SCHEDULES
from edgecomp.schedules.gpu.family import gpu_schedules, sized_schedules
from edgecomp.schedules.params import ParamsError
from edgecomp.schedules.schedule import KernelCall, Schedule

logger = logging.getLogger(__name__)

#: What the coverage report calls an operation that no schedule claimed.
FALLBACK = "fallback"

#: Operations, each with "schedule: reason" of those that refused it.
_Refused = list[tuple[Operation, list[str]]]


@dataclasses.dataclass(frozen=True)
class Selected:
    """An operation with the kernel calls that compute it.

    Attributes:
        schedule: name of the schedule, "fallback" where none claimed it.
        refusals: "schedule: reason" of those that were asked first.
        measured: why it was chosen, None where the cost model chose.
        why_on_cpu: where the target has a GPU, why the operation is not for it.
    """

    operation: Operation
    schedule: str
    calls: list[KernelCall]
    refusals: tuple[str, ...]
    measured: Measured | None = None
    why_on_cpu: str = ""


def select(
    program: Program,
    target: Target,
    without: Collection[str] = (),
    table: CostTable | None = None,
    *,
    allow_gpu: bool = True,
    left: Mapping[Operation, str] | None = None,
    weights: PlanWeights | None = None,
) -> list[Selected]:
    """Choose a schedule for each operation that makes calls.

    Args:
        program: operations in their layout.
        target: device.
        without: names of schedules that are not asked.
        table: measured kernels of the target.
        allow_gpu: whether the target's GPU takes what it has schedules for.
        left: what of that it does not take, with the reason.
        weights: take the calls' constants, so that they leave memory.

    Raises:
        EdgecompError: OPERATOR_UNSUPPORTED listing every operation that none takes,
            DIMENSION_FREE listing those of dynamic sizes.
    """
    unclaimed: _Refused = []
    undynamic: _Refused = []
    selected: list[tuple[Selected, Taken]] = []
    with ConstantTaker(weights) as taker:
        for operation in program.operations:
            if isinstance(operation.kind, Reinterpret):
                continue
            emit = not unclaimed and not undynamic
            chosen, refusals = _choose(
                operation,
                target,
                without,
                table,
                emit=emit,
                allow_gpu=allow_gpu,
                why_left=(left or {}).get(operation, ""),
            )
            if refusals:
                which = undynamic if is_dynamic_operation(operation) else unclaimed
                which.append((operation, refusals))
            if chosen is not None:
                taken = taker.take(chosen.calls)
                selected.append((dataclasses.replace(chosen, calls=[]), taken))
                for value in operation.inputs:
                    forget(value.constant)
        if undynamic:
            raise _undynamic(undynamic)
        if unclaimed:
            raise _unclaimed(unclaimed, target)
        return [dataclasses.replace(chosen, calls=taken()) for chosen, taken in selected]


def _choose(
    operation: Operation,
    target: Target,
    without: Collection[str],
    table: CostTable | None,
    *,
    emit: bool,
    allow_gpu: bool,
    why_left: str,
) -> tuple[Selected | None, list[str]]:
    """The kernels of an operation, or why no schedule claims it; neither without ``emit``."""
    why_on_cpu = why_left
    if target.gpu is not None and allow_gpu and not why_left:
        on_gpu, refusals = find_gpu_schedule(operation, target, without)
        if on_gpu is not None:
            calls = on_gpu.emit(operation, target) if emit else []
            return Selected(operation, on_gpu.NAME, calls, tuple(refusals)), []
        why_on_cpu = why_refused(refusals)
    chosen, refusals = _choose_for_cpu(operation, target, without, table, emit=emit)
    if chosen is not None:
        chosen = dataclasses.replace(chosen, why_on_cpu=why_on_cpu)
    return chosen, refusals


def _choose_for_cpu(
    operation: Operation,
    target: Target,
    without: Collection[str],
    table: CostTable | None,
    *,
    emit: bool,
) -> tuple[Selected | None, list[str]]:
    if is_dynamic_operation(operation):
        schedule, refusals = find_dynamic_schedule(operation, target, without)
    else:
        if isinstance(operation.kind, Fallback):
            return Selected(operation, FALLBACK, emit_fallback(operation, target), ()), []
        measured = _find_measured(operation, target, without, table)
        if measured is not None:
            return measured, []
        schedule, refusals = find_schedule(operation, target, without)
    if schedule is None:
        return None, refusals
    if not emit:
        return None, []
    calls = schedule.emit(operation, target)
    return Selected(operation, schedule.NAME, calls, tuple(refusals)), []


def _find_measured(
    operation: Operation, target: Target, without: Collection[str], table: CostTable | None
) -> Selected | None:
    """The fastest kernel of the table that still fits."""
    own = {*without, *gpu_schedule_names()}
    for entry in table.ranked(operation, own) if table else ():
        try:
            calls = emit_candidate(operation, target, Candidate(entry.schedule, entry.params))
        except ParamsError as error:
            logger.info(
                "a measured kernel of '%s' no longer fits (%s %s): %s",
                ", ".join(operation.nodes),
                entry.schedule,
                entry.params,
                error,
            )
            continue
        return Selected(operation, entry.schedule, calls, (), entry)
    return None


def gpu_schedule_names() -> frozenset[str]:
    """Of all schedules for GPUs: a cost table may have measured them beside the processor's."""
    return frozenset(schedule.NAME for api in APIS for schedule in gpu_schedules(api))


def find_gpu_schedule(
    operation: Operation, target: Target, without: Collection[str] = ()
) -> tuple[Schedule | None, list[str]]:
    """The first schedule of the target's GPU that claims an operation, and why others do not.

    The reasons are in the order of ``gpu_schedules``, the most general schedule's last.
    """
    assert target.gpu is not None
    family = sized_schedules if is_dynamic_operation(operation) else gpu_schedules
    return find_schedule(operation, target, without, family(target.gpu.api))


def find_schedule(
    operation: Operation,
    target: Target,
    without: Collection[str] = (),
    schedules: Sequence[Schedule] = SCHEDULES,
) -> tuple[Schedule | None, list[str]]:
    """The first schedule that claims an operation, and why those before it did not."""
    refusals: list[str] = []
    for schedule in schedules:
        if schedule.NAME in without:
            refusals.append(f"{schedule.NAME}: excluded")
            continue
        reason = schedule.match(operation, target)
        if not reason:
            return schedule, refusals
        refusals.append(f"{schedule.NAME}: {reason}")
    return None, refusals


def why_refused(refusals: Sequence[str]) -> str:
    """The reason of the schedule that is nearest to the operation.

    Special schedules are asked before the more general ones of a kind: what the last one lacks is
    what keeps the operation from running, what the others say is why it is not special.

    Args:
        refusals: "schedule: reason" in that order.
    """
    own = _of_its_kind(refusals)
    return own[-1] if own else "no schedule is for operations of its kind"


def _of_its_kind(refusals: Sequence[str]) -> list[str]:
    """The reasons of schedules of the operation's kind; the others say "not a ..."."""
    return [r for r in refusals if not re.match(r"\w+: (not an? |neither )", r)]


def _undynamic(refused: _Refused) -> EdgecompError:
    count = len(refused)
    return _refusal(
        Code.DIMENSION_FREE,
        f"{count} operation{'s' if count > 1 else ''} cannot have dynamic dimensions",
        [(operation, [undynamic_reason(refusals)]) for operation, refusals in refused],
        hint="give these dimensions as numbers instead of [a..b]; where the data decides them, end "
        "the model before these operators",
    )


def _unclaimed(refused: _Refused, target: Target) -> EdgecompError:
    count = len(refused)
    return _refusal(
        Code.OPERATOR_UNSUPPORTED,
        f"{count} operation{'s have' if count > 1 else ' has'} no schedule on {target.name}",
        refused,
        hint="rewrite these operators in float32, or report the gap with the model's shapes",
    )


def _refusal(code: Code, head: str, refused: _Refused, *, hint: str) -> EdgecompError:
    """An error at the first of the operations that lists them all."""
    lines = [
        f"{_described(operation)}: {why_refused(refusals)}" for operation, refusals in refused
    ]
    first = refused[0][0]
    return EdgecompError(
        code,
        "\n  ".join([head, *lines]),
        node=first.nodes[0] if first.nodes else "",
        source=first.source,
        hint=hint,
    )


def undynamic_reason(refusals: list[str]) -> str:
    """The reasons of its kind; that each schedule is for other operations is none."""
    return "; ".join(_of_its_kind(refusals)) or "its kernels are compiled for one size"


def _described(operation: Operation) -> str:
    """Kind, nodes, place and shapes."""
    place = f" at {operation.source}" if operation.source else ""
    shapes = [
        "x".join(map(str, value.shape)) for value in (*operation.inputs, *operation.outputs)
    ]
    names = ", ".join(operation.nodes)
    return f"{type(operation.kind).__name__} '{names}'{place} ({' '.join(shapes)})"
