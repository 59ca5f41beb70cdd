"""Checks of what functions are given, before any work is done."""

from typing import Any

from edgecomp.device.load import load_target
from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import BuildOptions, QuantizeOptions
from edgecomp.steps.source import require_free
from edgecomp.writable import require_writable_folder


def require_by_name(*given: Any) -> None:
    """Refuse options where something else stands."""
    for each in given:
        if isinstance(each, QuantizeOptions):
            raise EdgecompError(
                Code.USAGE,
                f"{type(each).__name__} in the place of another argument",
                hint="give it by name: options=...",
            )


def require_output_free(model: Any, options: QuantizeOptions) -> None:
    """Refuse an output that cannot or must not be written, before any work is done.

    Raises:
        EdgecompError: OUTPUT_EXISTS, OUTPUT_UNWRITABLE.
    """
    from edgecomp.bundle.directory import check_place

    if options.dump_passes is not None:
        require_writable_folder(options.dump_passes)
    if options.save_recipe is not None:
        require_free(options.save_recipe, model, force=options.force, flag="--save-recipe")
    if options.output is None:
        return
    if isinstance(options, BuildOptions):
        check_place(options.output, force=options.force)
    else:
        require_free(options.output, model, force=options.force)


def target_of(options: QuantizeOptions) -> Target | None:
    """The device that is named, None where none is."""
    return load_target(options.target) if options.target else None
