"""``edgecomp debug``."""

import click

from edgecomp.cli.build import require_calibration
from edgecomp.cli.flags import MODEL_HELP, model_argument, require_model, with_options
from edgecomp.cli.talk import Talk
from edgecomp.options import DebugOptions

_HELP = f"""Find the layers that a quantized model loses its accuracy in.

Compares every layer with float, alone and with all before it, searches the fewest layers whose
widening restores the outputs, tries other settings, and writes the recipe that helps.

{MODEL_HELP}
"""


@click.command("debug", help=_HELP)
@model_argument
@with_options(DebugOptions)
def command(model: str | None, options: DebugOptions, talk: Talk) -> None:
    """Find the layers that lose accuracy."""
    source = require_model(model)
    require_calibration(options)
    from edgecomp import api

    with talk.progress() as progress:
        report = api.debug(source, options=options, progress=progress)
    talk.render(report)
    for path in (options.output or options.apply, options.html, options.node_data):
        if path is not None:
            talk.note(f"wrote {path}")
