"""``edgecomp build``."""

import dataclasses

import click

from edgecomp.cli.budget import within_budget
from edgecomp.cli.bundles import default_output, summary, summary_text
from edgecomp.cli.flags import MODEL_HELP, model_argument, require_model, with_options
from edgecomp.cli.talk import Talk
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import BuildOptions, QuantizeOptions

_HELP = f"""Compile a model into a bundle for a device.

The whole way: read or trace, optimize, quantize (with --precision w8a8 or auto), compile for the target,
link, and write a folder that a program or 'edgecomp run' can use.

{MODEL_HELP}
"""


@click.command("build", help=_HELP)
@model_argument
@with_options(BuildOptions, config=True)
def command(model: str | None, options: BuildOptions, talk: Talk) -> None:
    """Compile a model into a bundle."""
    source = require_model(model)
    require_calibration(options)
    if options.output is None:
        suffix = f".{options.target.rpartition('/')[2].removesuffix('.toml')}.bundle"
        options = dataclasses.replace(options, output=default_output(source, suffix))
    from edgecomp import api

    with talk.progress() as progress:
        options, budget = within_budget(source, options, progress)
        bundle = api.build(source, options, progress)
    facts = summary(bundle) | budget.facts
    talk.result(facts, "\n".join([summary_text(facts), *budget.lines]))


def require_calibration(options: QuantizeOptions) -> None:
    """Quantized activations need ranges, ranges need data.

    Raises:
        EdgecompError: ``USAGE``.
    """
    if options.data_free:
        return
    if options.needs_calibration and options.calibration_data is None:
        what = "--method gptq" if options.method else f"--precision {options.precision}"
        raise EdgecompError(
            Code.USAGE,
            f"{what} needs --calibration-data",
            hint="give a folder of typical images, an .npy or .npz file, or a script.py with "
            "get_calibration_data(); or --data-free",
        )
