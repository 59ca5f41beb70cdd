"""The files that debugging writes."""

import pathlib
from typing import Any

from edgecomp.cache import write_whole
from edgecomp.debugging.node_data import node_data
from edgecomp.debugging.page import page
from edgecomp.debugging.result import DebugReport, db_text
from edgecomp.options import DebugOptions
from edgecomp.recipe.read import recipe_of
from edgecomp.recipe.write import write_recipe
from edgecomp.steps.source import require_free
from edgecomp.writable import writable


def require_writable(options: DebugOptions, model: Any) -> None:
    """Refuse files that exist before any work is done; a recipe that is applied may.

    Raises:
        EdgecompError: OUTPUT_EXISTS.
    """
    for path in (options.output, options.html, options.node_data, options.save_recipe):
        if path is not None:
            require_free(path, model, force=options.force)


def write_files(report: DebugReport, options: DebugOptions) -> None:
    """Write what the options name.

    Raises:
        EdgecompError: OUTPUT_UNWRITABLE.
    """
    path = options.output or options.apply or options.save_recipe
    recipe, comments = recipe_of(list(report.recipe)), _expected(report)
    if path is not None:
        write_recipe(recipe, path, comments)
    if options.html is not None:
        _write(options.html, page(report, recipe.text(comments)))
    if options.node_data is not None:
        _write(options.node_data, node_data(report))


def _expected(report: DebugReport) -> list[str]:
    """Of the whole recipe, with the suggested steps."""
    comments = [f"outputs without the last steps: {db_text(report.output_db)} dB to float"]
    if report.search is not None:
        comments.append(
            f"with them: {db_text(report.search.predicted_db)} dB, on {report.samples} samples"
        )
    return comments


def _write(path: pathlib.Path, text: str) -> None:
    with writable(path):
        write_whole(path, text.encode())
