"""The recipe that a search under budgets ended with, as a file that a build takes."""

import dataclasses
import pathlib
from typing import Any, TypeVar

from edgecomp.budget.result import BudgetReport, describe
from edgecomp.cache import write_whole
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import VERB_DEFAULTS, BudgetOptions, BuildOptions, QuantizeOptions
from edgecomp.recipe.read import recipe_of

Options = TypeVar("Options", bound=BudgetOptions)

#: Flags that a whole recipe holds, and one that would read fewer samples than were searched with.
_IN_RECIPE = (
    "calibration_method", "calibration_percentile", "calibration_tolerance", "per_channel",
    "bias_correction",
    "equalize", "smooth_quant", "weight_rounding", "nodes_to_exclude", "op_types_to_quantize",
)  # fmt: skip
_SUFFIXES = (".yaml", ".yml", ".json")
_BUDGETS = ("max_drop", "metric", "metric_direction", "max_bytes", "max_ms")


def require_form(path: pathlib.Path) -> None:
    """Refuse a file that could not be read again, before anything is searched.

    Raises:
        EdgecompError: USAGE.
    """
    if path.suffix not in _SUFFIXES:
        raise EdgecompError(
            Code.USAGE,
            f"--save-recipe: the suffix '{path.suffix}' is none of {', '.join(_SUFFIXES)}",
            path=str(path),
        )


def write_recipe(report: BudgetReport, path: pathlib.Path) -> None:
    """Write it, with what was measured in comments.

    Raises:
        EdgecompError: OUTPUT_UNWRITABLE.
    """
    recipe = recipe_of(list(report.recipe))
    text = recipe.text([describe(report.best)], suffix=path.suffix)
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise EdgecompError(
            Code.OUTPUT_UNWRITABLE, f"cannot write: {error.strerror}", path=str(path)
        ) from error


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
