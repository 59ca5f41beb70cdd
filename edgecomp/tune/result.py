"""What tuning found: for programs and for people."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from rich.console import Console


@dataclasses.dataclass(frozen=True)
class LayerResult:
    """A layer of the model as the table has it.

    Attributes:
        signature: of the layer.
        count: how often the model has it.
        own_ns: the kernel of an untuned build, None where it was not measured.
        best_ns: the kernel a build takes now.
        schedule, params: of that one.
    """

    signature: str
    count: int
    own_ns: int | None
    best_ns: int
    schedule: str
    params: str

    @property
    def saved_ns(self) -> int:
        """In each inference."""
        return self.count * ((self.own_ns or self.best_ns) - self.best_ns)


@dataclasses.dataclass(frozen=True)
class TuneResult:
    """What was found.

    Attributes:
        output: the table.
        device: that measured, in words.
        threads: that ran each kernel.
        measured: layers measured now.
        known: layers that the table had already.
        left: layers for which no time was left.
        layers: of the model, as far as the table has them.
    """

    output: pathlib.Path
    device: str
    threads: int
    measured: int
    known: int
    left: int
    layers: Sequence[LayerResult]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        content = dataclasses.asdict(self)
        content["output"] = str(self.output)
        content["own_ns"], content["best_ns"] = self._totals()
        return content

    def render(self, console: Console) -> None:
        """Print what was gained, layer by layer where that is something."""
        from rich.table import Table

        table = Table("layer", "times", "untuned us", "tuned us", "kernel", box=None)
        for layer in sorted(self.layers, key=lambda layer: -layer.saved_ns):
            if layer.saved_ns > 0:
                table.add_row(
                    layer.signature,
                    str(layer.count),
                    f"{(layer.own_ns or 0) / 1e3:.1f}",
                    f"{layer.best_ns / 1e3:.1f}",
                    f"{layer.schedule} {layer.params}",
                )
        if table.row_count:
            console.print(table, markup=False)
        own, best = self._totals()
        console.print(
            f"{self.measured} layers measured, {self.known} known before, {self.left} left; "
            f"all that are known take {best / 1e6:.3f} ms, untuned {own / 1e6:.3f} ms, with "
            f"{self.threads} thread(s) on {self.device}",
            markup=False,
        )
        console.print(f"edgecomp build MODEL --cost-table {self.output}", markup=False)

    def _totals(self) -> tuple[int, int]:
        """Nanoseconds of all layers, untuned and tuned."""
        own = sum(x.count * (x.own_ns or x.best_ns) for x in self.layers)
        return own, sum(x.count * x.best_ns for x in self.layers)
