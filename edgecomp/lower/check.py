"""What every operator of a model would run as, on every target, before any work."""

import dataclasses
from typing import Any

import onnx_ir as ir
import rich.console
import rich.table

from edgecomp.device.target import Target
from edgecomp.lower.cost import multiply_adds
from edgecomp.lower.fuse import fuse
from edgecomp.lower.layout import assign_layout
from edgecomp.lower.read import Refusal, read_program
from edgecomp.lower.select import FALLBACK, find_schedule, telling
from edgecomp.plan.operations import Fallback, Operation, Reinterpret

IMPOSSIBLE = "impossible"
SCHEDULED = "scheduled"

#: What would help, by operator.
REWRITES = {
    "Pad": "pad with a constant, or concatenate slices",
    "Resize": "resize only height and width, nearest or linear",
    "MaxPool": "do not use the indices output",
    "Conv": "make the weights constants (initializers)",
    "Gemm": "make B and C constants (initializers)",
}


@dataclasses.dataclass(frozen=True)
class Check:
    """One operation on one target.

    Attributes:
        target: name.
        status: scheduled, fallback or impossible.
        operator: kind of operation, or ONNX operator where there is none.
        nodes: ONNX nodes.
        source: line of Python, or "".
        detail: schedule, or why there is none.
        rewrite: what would help, or "".
        share: part of the model's multiply-adds, 0 to 1.
    """

    target: str
    status: str
    operator: str
    nodes: tuple[str, ...]
    source: str
    detail: str
    rewrite: str
    share: float


@dataclasses.dataclass(frozen=True)
class CheckReport:
    """All operations on all targets."""

    checks: list[Check]

    @property
    def problems(self) -> list[Check]:
        """What is not scheduled."""
        return [check for check in self.checks if check.status != SCHEDULED]

    @property
    def possible(self) -> bool:
        """Whether the model builds for every target."""
        return all(check.status != IMPOSSIBLE for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "possible": self.possible,
            "checks": [dataclasses.asdict(check) for check in self.checks],
        }

    def render(self, console: rich.console.Console) -> None:
        """A summary per target, then every problem."""
        summary = rich.table.Table("target", SCHEDULED, FALLBACK, IMPOSSIBLE)
        for target in dict.fromkeys(check.target for check in self.checks):
            own = [check for check in self.checks if check.target == target]
            counts = [
                str(sum(check.status == status for check in own))
                for status in (SCHEDULED, FALLBACK, IMPOSSIBLE)
            ]
            summary.add_row(target, *counts)
        console.print(summary)
        if not self.problems:
            return
        table = rich.table.Table(
            "target", "status", "operator", "node", "source", "why", "help"
        )
        for check in self.problems:
            table.add_row(
                check.target,
                check.status,
                check.operator,
                ", ".join(check.nodes),
                check.source,
                check.detail,
                check.rewrite,
            )
        console.print(table)


def check_model(model: ir.Model, targets: list[Target]) -> CheckReport:
    """Look at a model whose shapes are static. Compiles nothing."""
    return CheckReport([check for target in targets for check in _check(model, target)])


def _check(model: ir.Model, target: Target) -> list[Check]:
    program, refusals = read_program(model, target, "model")
    reasons = {refusal.node: refusal.reason for refusal in refusals}
    impossible = [_impossible(r, target) for r in refusals if not r.possible]
    if not impossible:  # with nodes missing, the program is not fit for layout
        fuse(program)
        assign_layout(program)
    total = sum(map(multiply_adds, program.operations)) or 1
    return impossible + [
        _look_up(operation, target, reasons, total)
        for operation in program.operations
        if not isinstance(operation.kind, Reinterpret)
    ]


def _impossible(refusal: Refusal, target: Target) -> Check:
    rewrite = REWRITES.get(refusal.operator, "")
    return Check(
        target.name,
        IMPOSSIBLE,
        refusal.operator,
        (refusal.node,),
        refusal.source,
        refusal.reason,
        rewrite,
        0.0,
    )


def _look_up(
    operation: Operation, target: Target, reasons: dict[str, str], total: int
) -> Check:
    kind, share = operation.kind, multiply_adds(operation) / total
    nodes, source = operation.nodes, operation.source
    if isinstance(kind, Fallback):
        reason = next((reasons[n] for n in nodes if n in reasons), "")
        rewrite = REWRITES.get(kind.operator, "")
        return Check(
            target.name, FALLBACK, kind.operator, nodes, source, reason, rewrite, share
        )
    name = type(kind).__name__
    schedule, refusals = find_schedule(operation, target)
    if schedule is None:
        detail = "; ".join(telling(refusals))
        return Check(target.name, IMPOSSIBLE, name, nodes, source, detail, "", share)
    return Check(target.name, SCHEDULED, name, nodes, source, schedule.NAME, "", share)
