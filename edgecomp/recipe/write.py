"""Write recipes, as what the file's suffix says."""

import json
import pathlib
from collections.abc import Sequence

from edgecomp.cache import write_whole
from edgecomp.recipe.recipe import Recipe
from edgecomp.writable import writable


def write_recipe(recipe: Recipe, path: pathlib.Path, comments: Sequence[str] = ()) -> None:
    """Write YAML, or JSON, which has no comments.

    Args:
        recipe: what is written.
        path: with one of ``options.RECIPE_SUFFIXES``.
        comments: lines in front.

    Raises:
        EdgecompError: OUTPUT_UNWRITABLE.
    """
    text = recipe.text(comments)
    if path.suffix == ".json":
        text = json.dumps(recipe.as_list(), indent=2) + "\n"
    with writable(path):
        write_whole(path, text.encode())
