"""What ``build`` and ``quantize`` do first where they are given a budget."""

import dataclasses
import pathlib
from typing import Any, TypeVar

from edgecomp.options import BudgetOptions
from edgecomp.progress import Progress

Options = TypeVar("Options", bound=BudgetOptions)


@dataclasses.dataclass(frozen=True)
class Found:
    """What is said of a budget: facts for ``--json``, lines for people; nothing without one."""

    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    lines: tuple[str, ...] = ()


def within_budget(source: str, options: Options, progress: Progress) -> tuple[Options, Found]:
    """Options that hold the budget of these; the recipe lies beside the output.

    Args:
        source: MODEL.
        options: with an output.
        progress: told about every step.
    """
    if not options.has_budget:
        return options, Found()
    from edgecomp import api

    assert options.output is not None
    recipe = options.save_recipe or pathlib.Path(f"{options.output}.recipe.yaml")
    chosen, report = api.within_budget(source, options, progress, recipe=recipe)
    facts = {"budget": report.as_dict(), "recipe": str(recipe)}
    return chosen, Found(facts, (*report.lines(), f"recipe: {recipe}"))
