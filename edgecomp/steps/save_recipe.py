"""The recipe that a model was quantized by, as a file."""

from collections.abc import Mapping
from typing import Any

from edgecomp.errors import Code, EdgecompError
from edgecomp.options import QuantizeOptions
from edgecomp.recipe.read import recipe_of
from edgecomp.recipe.write import write_recipe


def save_recipe(facts: Mapping[str, Any], options: QuantizeOptions) -> None:
    """Write it where the options ask for it.

    Raises:
        EdgecompError: OUTPUT_UNWRITABLE; USAGE where there is none.
    """
    if options.save_recipe is None:
        return
    steps = facts.get("quantization", {}).get("recipe")
    if steps is None:
        raise EdgecompError(
            Code.USAGE,
            "--save-recipe: the model was not quantized here, there is no recipe of it",
            hint="leave --save-recipe out",
        )
    write_recipe(recipe_of(steps), options.save_recipe)
