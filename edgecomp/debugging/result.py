"""What debugging found: for people, and for programs."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import rich.console
import rich.table

from edgecomp.debugging.distribution import Distribution
from edgecomp.debugging.layers import Layer
from edgecomp.debugging.metrics import Similarity


@dataclasses.dataclass(frozen=True)
class Difference:
    """How near results are to float.

    Attributes:
        sqnr_db: signal to quantization noise; infinite where nothing differs.
        cosine: of the angle between both.
        divergence: of the distributions, in nats; None where it was not computed.
    """

    sqnr_db: float
    cosine: float
    divergence: float | None = None

    @classmethod
    def of(cls, similarity: Similarity, *, divergence: bool = False) -> "Difference":
        """The figures of a comparison."""
        return cls(
            similarity.sqnr_db,
            similarity.cosine,
            similarity.divergence if divergence else None,
        )

    def as_dict(self) -> dict[str, float | None]:
        """For JSON, which has no infinity: what does not differ has no SQNR."""
        return {name: _number(value) for name, value in dataclasses.asdict(self).items()}


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """One layer.

    Attributes:
        place: in the order of execution, from 0.
        layer: what it is.
        alone: only this layer quantized.
        accumulated: everything up to it quantized.
        inputs: only what it reads quantized.
        weights: only its weights quantized, None without.
        weight_values: None without.
        input_values: by the name of what it reads.
        methods: how the range of each was chosen.
        if_float_db: SQNR of the outputs with this layer left float, None where not tried.
    """

    place: int
    layer: Layer
    alone: Difference
    accumulated: Difference
    inputs: Difference
    weights: Difference | None
    weight_values: Distribution | None
    input_values: Mapping[str, Distribution]
    methods: Mapping[str, str]
    if_float_db: float | None = None

    @property
    def cause(self) -> str:
        """What loses more: ``weights`` or ``inputs``."""
        if self.weights is not None and self.weights.sqnr_db < self.inputs.sqnr_db:
            return "weights"
        return "inputs"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "place": self.place,
            "name": self.layer.name,
            "operator": self.layer.operator,
            "source": self.layer.source,
            "nodes": list(self.layer.nodes),
            "outputs": list(self.layer.outputs),
            "multiply_adds": self.layer.multiply_adds,
            "alone": self.alone.as_dict(),
            "accumulated": self.accumulated.as_dict(),
            "inputs_alone": self.inputs.as_dict(),
            "weights_alone": None if self.weights is None else self.weights.as_dict(),
            "cause": self.cause,
            "weights": None if self.weight_values is None else self.weight_values.as_dict(),
            "inputs": {
                name: {**values.as_dict(), "method": self.methods[name]}
                for name, values in self.input_values.items()
            },
            "outputs_db_if_float": _number(self.if_float_db),
        }


@dataclasses.dataclass(frozen=True)
class Trial:
    """One change that was tried.

    Attributes:
        layer: name; "*" or "" for the whole model.
        change: in words.
        output_db: SQNR of the outputs with it; of a layer that stays float, with it alone.
        step: of a recipe.
        kept: whether the suggestion has it.
    """

    layer: str
    change: str
    output_db: float
    step: dict[str, Any]
    kept: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**dataclasses.asdict(self), "output_db": _number(self.output_db)}


@dataclasses.dataclass(frozen=True)
class Search:
    """What was searched for and found.

    Attributes:
        goal_db: SQNR that the outputs shall have.
        layers: the smallest set whose widening to float gives it, those of most effect first;
            None where not even all layers do.
        restored_db: SQNR of the outputs with them.
        share: part of the layers' multiply-adds that they have.
        trials: what else was tried.
        steps: of the recipe that is suggested, behind those that there are.
        predicted_db: SQNR of the outputs with it.
        predicted_share: part of the multiply-adds that it leaves float.
    """

    goal_db: float
    layers: tuple[str, ...] | None
    restored_db: float
    share: float
    trials: tuple[Trial, ...]
    steps: tuple[dict[str, Any], ...]
    predicted_db: float
    predicted_share: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "goal_db": self.goal_db,
            "layers": None if self.layers is None else list(self.layers),
            "restored_db": _number(self.restored_db),
            "share_of_multiply_adds": self.share,
            "trials": [trial.as_dict() for trial in self.trials],
            "steps": list(self.steps),
            "predicted_db": _number(self.predicted_db),
            "predicted_share_of_multiply_adds": self.predicted_share,
        }


@dataclasses.dataclass(frozen=True)
class DebugReport:
    """All of it.

    Attributes:
        model: as given.
        samples: that were compared.
        layers: worst alone first.
        outputs: of the whole quantized model, by name.
        output_db: of all outputs: of the mean of their noise to signal.
        search: None where nothing was searched.
        recipe: with the suggestion, whole.
        top: layers that ``render`` shows.
    """

    model: str
    samples: int
    layers: Sequence[LayerReport]
    outputs: Mapping[str, Difference]
    output_db: float
    search: Search | None
    recipe: Sequence[Mapping[str, Any]]
    top: int = 20

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "model": self.model,
            "samples": self.samples,
            "output_db": _number(self.output_db),
            "outputs": {name: d.as_dict() for name, d in self.outputs.items()},
            "layers": [layer.as_dict() for layer in self.layers],
            "search": None if self.search is None else self.search.as_dict(),
            "recipe": list(self.recipe),
        }

    def render(self, console: rich.console.Console) -> None:
        """Layers, outputs, and what was searched."""
        console.print(self._layer_table())
        console.print(self._output_table())
        if self.search is not None:
            self._print_search(console, self.search)

    def _layer_table(self) -> rich.table.Table:
        shown = self.layers[: self.top]
        table = rich.table.Table(
            caption=f"{len(shown)} of {len(self.layers)} layers, worst alone first; "
            "SQNR in dB against float"
        )
        table.add_column("layer", overflow="fold")
        table.add_column("operator")
        table.add_column("source", overflow="fold")
        for name in ("alone", "inputs", "weights", "cosine", "KL", "so far", "if float"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("outliers", justify="right")
        for report in shown:
            table.add_row(
                report.layer.name,
                report.layer.operator,
                report.layer.source,
                db_text(report.alone.sqnr_db),
                db_text(report.inputs.sqnr_db),
                "" if report.weights is None else db_text(report.weights.sqnr_db),
                f"{report.alone.cosine:.4f}",
                f"{report.alone.divergence or 0.0:.3f}",
                db_text(report.accumulated.sqnr_db),
                "" if report.if_float_db is None else db_text(report.if_float_db),
                _outliers(report),
            )
        return table

    def _output_table(self) -> rich.table.Table:
        table = rich.table.Table(caption=f"the whole model, {self.samples} samples")
        table.add_column("output")
        table.add_column("SQNR dB", justify="right")
        table.add_column("cosine", justify="right")
        for name, difference in self.outputs.items():
            table.add_row(name, db_text(difference.sqnr_db), f"{difference.cosine:.5f}")
        if len(self.outputs) > 1:
            table.add_section()
            table.add_row("mean noise", db_text(self.output_db), "")
        return table

    def _print_search(self, console: rich.console.Console, search: Search) -> None:
        def say(text: str) -> None:
            console.print(text, markup=False)

        head = f"outputs: {db_text(self.output_db)} dB, wanted {search.goal_db:.1f} dB"
        if search.layers is None:
            say(f"{head}: not even all layers in float give that")
        elif not search.layers:
            say(f"{head}: nothing to restore")
        else:
            say(
                f"{head}: float in {len(search.layers)} of {len(self.layers)} layers "
                f"({100 * search.share:.1f} % of multiply-adds) gives "
                f"{db_text(search.restored_db)} dB; none of them can be left out:"
            )
            for name in search.layers:
                say(f"  {name}")
        kept = [trial for trial in search.trials if trial.kept]
        if search.steps:
            say(
                f"suggested: {db_text(search.predicted_db)} dB with "
                f"{100 * search.predicted_share:.1f} % of multiply-adds in float"
            )
            for trial in kept:
                say(f"  {trial.layer.strip('*') or 'all layers'}: {trial.change}")


def db_text(db: float | None) -> str:
    """Decibels for people."""
    if db is None or math.isinf(db):
        return "same" if db is None or db > 0 else "-"
    return f"{db:.1f}"


def _outliers(report: LayerReport) -> str:
    """The largest outlier ratios of weights and inputs."""
    parts = []
    if report.weight_values is not None:
        parts.append(f"w {report.weight_values.outlier_ratio:.1f}")
    if report.input_values:
        parts.append(f"x {max(v.outlier_ratio for v in report.input_values.values()):.1f}")
    return " ".join(parts)


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
