"""The recipe that a search under budgets ended with, as a file that a build takes."""

import dataclasses
import pathlib
from typing import Any, TypeVar

from edgecomp.options import VERB_DEFAULTS, BudgetOptions, BuildOptions, QuantizeOptions

Options = TypeVar("Options", bound=BudgetOptions)

#: Flags that a whole recipe holds, and one that would read fewer samples than were searched with.
_IN_RECIPE = (
    "calibration_method", "calibration_percentile", "calibration_tolerance", "range_trials",
    "per_channel", "bias_correction",
    "equalize", "smooth_quant", "weight_rounding", "method", "nodes_to_exclude",
    "op_types_to_quantize",
)  # fmt: skip
_BUDGETS = (
    "max_drop", "metric", "metric_direction", "ranges_by_metric", "max_bytes", "max_ms",
)  # fmt: skip


def by_recipe(options: Options, path: pathlib.Path) -> Options:
    """The options of a build from the recipe alone, as anyone would repeat it."""
    plain: dict[str, Any] = {
        field.name: field.default
        for field in dataclasses.fields(QuantizeOptions)
        if field.name in _IN_RECIPE
    }
    plain |= {
        field.name: field.default
        for field in dataclasses.fields(BudgetOptions)
        if field.name in _BUDGETS
    }
    # That of the verb without flags: the recipe decides, and says so in the model's metadata.
    preset = {} if isinstance(options, BuildOptions) else VERB_DEFAULTS["quantize"]
    plain["precision"] = preset.get("precision", "fp32")
    return dataclasses.replace(options, recipe=path, save_recipe=None, **plain)
