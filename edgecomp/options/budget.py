"""Options of budgets: what quantization may cost."""

import dataclasses
import math

from edgecomp.options.option import check_choice, option, set_field, usage
from edgecomp.options.precisions import (
    DYNAMIC_BITS,
    SIXTEEN_BITS,
    WEIGHT_BITS,
    WEIGHT_TYPES,
)
from edgecomp.options.quantize import QuantizeOptions

METRIC_DIRECTIONS = ("higher-better", "lower-better")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BudgetOptions(QuantizeOptions):
    """How a float model becomes a quantized one, and what that may cost."""

    max_drop: str = option(
        "",
        "what the metric may lose against the float model: in its own units, or with a % of "
        "float's; layers and settings are chosen until it holds (docs/budgets.md)",
        metavar="X|X%",
    )
    metric: str = option(
        "",
        "function that runs a model on labelled data and returns how good it is "
        "(docs/budgets.md)",
        metavar="FILE.py:FUNCTION",
    )
    metric_direction: str = option(
        "higher-better",
        "whether a higher or a lower metric is the better one",
        choices=METRIC_DIRECTIONS,
    )
    ranges_by_metric: bool = option(
        False,
        "choose how activation ranges are chosen by the metric, which then has to give a score of "
        "each sample as well: what half of the samples choose is taken where it is surely better "
        "on the other half (docs/budgets.md)",
    )
    max_bytes: int | None = option(None, "bytes that the stored weights may take", metavar="N")
    max_ms: float | None = option(
        None,
        "milliseconds that one inference on one thread may take on --target: measured on the "
        "host, modelled for others",
        metavar="T",
    )

    def _check(self) -> None:
        check_choice("metric_direction", self.metric_direction, METRIC_DIRECTIONS)
        for name in ("max_bytes", "max_ms"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise usage(name, f"expected a positive number, found {value}")
        if self.max_ms is not None and not self.target:
            raise usage(
                "max_ms",
                "how long a model takes depends on the device",
                hint="add --target; 'edgecomp targets' lists the devices",
            )
        if self.max_drop:
            self.allowed_drop(1.0)
            if not self.metric:
                raise usage(
                    "max_drop",
                    "it is the drop of a metric",
                    hint="add --metric FILE.py:FUNCTION (docs/budgets.md)",
                )
        if self.ranges_by_metric and not self.metric:
            raise usage(
                "ranges_by_metric",
                "there is no metric",
                hint="add --metric FILE.py:FUNCTION (docs/budgets.md)",
            )
        if not self.has_budget:
            if self.metric:
                raise usage(
                    "metric",
                    "nothing is asked of it",
                    hint="add --max-drop, 1% for example, or --ranges-by-metric",
                )
            return
        if self.precision == "fp32" and self.recipe is None:
            set_field(self, "precision", "w8a8")
        if self.precision in (
            *DYNAMIC_BITS,
            *WEIGHT_BITS,
            *WEIGHT_TYPES,
            *SIXTEEN_BITS,
            "w4a8",
        ):
            raise usage(
                "precision",
                f"with a budget every layer gets a precision of its own, not {self.precision}",
                hint="leave --precision out, or leave the budgets out",
            )
        if self.precision == "auto" and not self.has_limits:
            raise usage(
                "precision",
                "--ranges-by-metric alone leaves no layer float",
                hint="add a budget, --max-drop for example, or leave --precision auto out",
            )

    @property
    def _chooses_layers(self) -> bool:
        return self.recipe is not None or self.has_budget

    @property
    def has_budget(self) -> bool:
        """Whether something is searched: precisions under limits, or ranges by the metric."""
        return self.has_limits or self.ranges_by_metric

    @property
    def has_limits(self) -> bool:
        """Whether precisions are chosen under limits."""
        return bool(self.max_drop) or self.max_bytes is not None or self.max_ms is not None

    def allowed_drop(self, reference: float) -> float:
        """What the metric may lose, in its own units.

        Args:
            reference: metric of the float model.
        """
        text = self.max_drop.strip()
        try:
            number = float(text.removesuffix("%"))
        except ValueError:
            number = -1.0
        if not 0.0 <= number < math.inf:
            raise usage(
                "max_drop",
                f"expected a number that is not negative, or one with %, found '{text}'",
                hint="0.01 is a hundredth in the metric's units, 1% a hundredth of float's",
            )
        return number / 100.0 * abs(reference) if text.endswith("%") else number
