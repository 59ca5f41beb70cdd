"""The files that debugging writes."""

import pathlib
from typing import Any

from edgecomp.cache import write_whole
from edgecomp.debugging.node_data import node_data
from edgecomp.debugging.page import page
from edgecomp.debugging.result import DebugReport, db_text
from edgecomp.options import DebugOptions, flag_of
from edgecomp.recipe.read import recipe_of
from edgecomp.recipe.write import write_recipe
from edgecomp.steps.source import require_free
from edgecomp.writable import require_writable_file, require_writable_folder, writable


def require_writable(options: DebugOptions, model: Any) -> None:
    """Refuse files that exist or cannot be written, before any work is done.

    A recipe that is applied may exist.

    Raises:
        EdgecompError: OUTPUT_EXISTS, OUTPUT_UNWRITABLE.
    """
    for name in ("output", "html", "node_data", "save_recipe"):
        path = getattr(options, name)
        if path is not None:
            require_free(path, model, force=options.force, flag=flag_of(name))
    if options.apply is not None:
        require_writable_file(options.apply)
    if options.dump_passes is not None:
        require_writable_folder(options.dump_passes)


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
