"""What ``verify`` and ``benchmark`` give back: for programs and for people."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from edgecomp.bench import report
from edgecomp.bench.compare import Comparison
from edgecomp.bench.runner import Measurement
from edgecomp.bench.verify import OutputCheck
from edgecomp.errors import Code, EdgecompError


@dataclasses.dataclass(frozen=True)
class VerifyResult:
    """Golden vectors that a device computed as they should be.

    Attributes:
        name: of the model.
        device: as given to ``--device``.
        checks: one per output of each vector.
    """

    name: str
    device: str
    checks: Sequence[OutputCheck]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "name": self.name,
            "device": self.device,
            "checks": report.checks_dict(self.checks),
        }

    def render(self, console: Console) -> None:
        """Print the table and the answer."""
        console.print(report.checks_view(self.checks))
        vectors = len({check.vector for check in self.checks})
        console.print(
            f"{self.name} computes its {vectors} golden vector(s) on {self.device}",
            markup=False,
        )


@dataclasses.dataclass(frozen=True)
class BenchmarkResult:
    """A bundle measured on a device.

    Attributes:
        name: of the model.
        target: the bundle was built for.
        measurement: alone.
        comparisons: in turns with other runtimes.
    """

    name: str
    target: str
    measurement: Measurement
    comparisons: Sequence[Comparison] = ()

    def as_dict(self) -> dict[str, Any]:
        """For ``--json`` and ``--result-json``; times in nanoseconds."""
        return {
            "name": self.name,
            "target": self.target,
            "measurement": report.measurement_dict(self.measurement),
            "comparisons": [report.comparison_dict(c) for c in self.comparisons],
        }

    def render(self, console: Console) -> None:
        """Print the tables."""
        console.print(f"{self.name} for {self.target}", markup=False)
        console.print(report.measurement_view(self.measurement))
        if self.comparisons:
            console.print(report.comparisons_view(self.comparisons))

    def require_conclusive(self) -> None:
        """Raise BENCHMARK_INCONCLUSIVE when a comparison cannot tell which one is faster."""
        for comparison in self.comparisons:
            if comparison.ratio.inconclusive:
                raise EdgecompError(
                    Code.BENCHMARK_INCONCLUSIVE,
                    report.ratio_sentence(comparison),
                    hint="close other programs, or measure longer with --max-secs",
                )
