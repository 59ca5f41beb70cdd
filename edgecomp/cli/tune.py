"""``edgecomp tune``."""

import click

from edgecomp.cli.flags import MODEL_HELP, model_argument, require_model, with_options
from edgecomp.cli.talk import Talk
from edgecomp.options import TuneOptions

_HELP = f"""Measure a model's kernels on a device; later builds take the fastest.

Give a bundle, or a model that is float or quantized already. The cost table is written after each
layer: an interrupted run goes on where it stopped, and layers that the table knows from another
model are not measured again.

{MODEL_HELP}
"""


@click.command("tune", help=_HELP)
@model_argument
@with_options(TuneOptions, config=True)
def command(model: str | None, options: TuneOptions, talk: Talk) -> None:
    """Measure a model's kernels on a device."""
    source = require_model(model)
    from edgecomp import api

    with talk.progress() as progress:
        result = api.tune(source, options, progress)
    talk.render(result)
