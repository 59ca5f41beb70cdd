"""Options that keep a model within budgets."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgecomp.api.arguments import require_output_free, target_of
from edgecomp.errors import Code, EdgecompError
from edgecomp.held import scratch_folder
from edgecomp.options import BudgetOptions
from edgecomp.progress import Progress, silent
from edgecomp.steps.source import errors_about

# Everything that is heavy to import is imported where it is used: `edgecomp --help` and
# `edgecomp targets` come through here too.
if TYPE_CHECKING:
    from edgecomp.budget.result import BudgetReport


def within_budget(
    model: Any,
    options: BudgetOptions,
    progress: Progress = silent,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    calibration_dataset: Any = None,
    recipe: pathlib.Path | None = None,
) -> "tuple[Any, BudgetReport]":
    """Choose precisions and settings under ``--max-drop``, ``--max-bytes`` and ``--max-ms``.

    Args:
        model: as for ``build``.
        options: of ``build`` or ``quantize``, with a budget.
        progress: told about every step.
        args: example inputs of a torch module.
        kwargs: keyword example inputs of a torch module.
        calibration_dataset: samples, where ``options.calibration_data`` is not given.
        recipe: file that what was found is written to, see ``options.RECIPE_SUFFIXES``;
            ``options.save_recipe`` before it.

    Returns:
        Options without budgets that build by that recipe, and what was tried.

    Raises:
        EdgecompError: what ``steps.budget.search_budget`` raises; OUTPUT_EXISTS,
            OUTPUT_UNWRITABLE.
    """
    from edgecomp.budget.result import describe
    from edgecomp.recipe.read import recipe_of
    from edgecomp.recipe.write import write_recipe
    from edgecomp.steps.budget import search_budget
    from edgecomp.steps.budget_files import by_recipe

    options = dataclasses.replace(options, save_recipe=options.save_recipe or recipe)
    if options.save_recipe is None:
        raise EdgecompError(
            Code.USAGE, "no file for the recipe is given", hint="set save_recipe"
        )
    require_output_free(model, options)
    target = target_of(options)
    with errors_about(model):
        report = search_budget(
            model,
            options,
            progress,
            args=args,
            kwargs=kwargs,
            dataset=calibration_dataset,
            target=target,
        )
    write_recipe(recipe_of(list(report.recipe)), options.save_recipe, [describe(report.best)])
    return by_recipe(options, options.save_recipe), report


@contextlib.contextmanager
def chosen_within_budget(
    model: Any, options: BudgetOptions, progress: Progress, **given: Any
) -> Iterator[Any]:
    """Options without budgets, whose recipe is there as long as the context.

    Args:
        model: as for ``build``.
        options: with a budget.
        progress: told about every step.
        given: further arguments of ``within_budget``.
    """
    with scratch_folder() as scratch:
        recipe = pathlib.Path(scratch) / "recipe.yaml"
        chosen, _ = within_budget(model, options, progress, recipe=recipe, **given)
        yield chosen
