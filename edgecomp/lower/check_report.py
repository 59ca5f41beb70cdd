"""The result of a check: for people, and for programs."""

import collections
import dataclasses
from collections.abc import Iterable
from typing import Any

import rich.console
import rich.table

IMPOSSIBLE = "impossible"
SCHEDULED = "scheduled"
FALLBACK = "fallback"
#: Worst first.
STATUSES = (IMPOSSIBLE, FALLBACK, SCHEDULED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """One operation on one target.

    Attributes:
        target: name.
        status: scheduled, fallback or impossible.
        operator: ONNX operator types joined by "+" where several became one operation, the
            kind of operation where edgecomp put it in; "input" or "output" of the model.
        nodes: ONNX nodes; the name of an input or output.
        source: line of Python, or "".
        detail: schedule, or why there is none.
        rewrite: what would help, or "".
        multiply_adds: of the operation.
        share: part of the model's multiply-adds, 0 to 1.
        dimension: that the operation counts when the model runs, or "".
        bound: its largest size.
    """

    target: str
    status: str
    operator: str
    nodes: tuple[str, ...]
    source: str
    detail: str
    rewrite: str
    multiply_adds: int = 0
    share: float = 0.0
    dimension: str = ""
    bound: int = 0


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is not scheduled, once for all the targets it is the same on."""

    targets: tuple[str, ...]
    check: Check


@dataclasses.dataclass(frozen=True)
class CheckReport:
    """All operations on all targets."""

    checks: list[Check]

    @property
    def targets(self) -> list[str]:
        """Names, in the order they were asked for."""
        return list(dict.fromkeys(check.target for check in self.checks))

    @property
    def problems(self) -> list[Problem]:
        """What is not scheduled, the impossible first, then by share of multiply-adds."""
        same: dict[Any, list[Check]] = collections.defaultdict(list)
        for check in self.checks:
            if check.status != SCHEDULED:
                same[dataclasses.replace(check, target="")].append(check)
        found = [Problem(tuple(c.target for c in own), own[0]) for own in same.values()]
        return sorted(found, key=lambda p: (STATUSES.index(p.check.status), -p.check.share))

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
        """Every operator on every target, what the data decides, then every problem."""
        console.print(self._operators())
        if any(check.dimension for check in self.checks):
            console.print(self._counted())
        if self.problems:
            console.print(self._problems())

    def _operators(self) -> rich.table.Table:
        table = rich.table.Table(caption="share: of the model's multiply-adds")
        table.add_column("operator")
        table.add_column("share", justify="right")
        for target in self.targets:
            table.add_column(target, no_wrap=True)
        for operator in dict.fromkeys(check.operator for check in self.checks):
            own = [check for check in self.checks if check.operator == operator]
            cells = [_counts(c for c in own if c.target == target) for target in self.targets]
            table.add_row(operator, _percent(_share(own, self.targets)), *cells)
        totals = [
            _counts(c for c in self.checks if c.target == target) for target in self.targets
        ]
        table.add_section()
        table.add_row("all", "", *totals)
        return table

    def _counted(self) -> rich.table.Table:
        """Dimensions of the first target: they are the same on all."""
        table = rich.table.Table(
            "operator",
            "node",
            "source",
            "dimension",
            "size",
            title="sizes that the data decides",
        )
        for check in self.checks:
            if check.dimension and check.target == self.targets[0]:
                table.add_row(
                    check.operator,
                    ", ".join(check.nodes),
                    check.source,
                    check.dimension,
                    f"bounded by {check.bound}",
                )
        return table

    def _problems(self) -> rich.table.Table:
        table = rich.table.Table(
            "status",
            "operator",
            "node",
            "source",
            "share",
            "targets",
            "why",
            "what would help",
        )
        for problem in self.problems:
            check = problem.check
            everywhere = len(problem.targets) == len(self.targets) > 1
            table.add_row(
                check.status,
                check.operator,
                ", ".join(check.nodes),
                check.source,
                _percent(check.share),
                "all" if everywhere else ", ".join(problem.targets),
                check.detail,
                check.rewrite,
            )
        return table


def _counts(checks: Iterable[Check]) -> str:
    """``35 scheduled``, or ``1 fallback, 2 scheduled``."""
    counts = collections.Counter(check.status for check in checks)
    return ", ".join(f"{counts[s]} {s}" for s in STATUSES if counts[s]) or "-"


def _share(checks: list[Check], targets: list[str]) -> float:
    """Largest over the targets: they only differ where a model cannot be read whole."""
    return max(sum(c.share for c in checks if c.target == target) for target in targets)


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "<0.1 %"
    return f"{100 * share:.1f} %" if share else "0"
