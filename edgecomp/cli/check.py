"""``edgecomp check``."""

import json
import pathlib
from typing import Any

import click

from edgecomp.cli.flags import MODEL_HELP, model_argument, require_model, with_options
from edgecomp.cli.talk import Talk
from edgecomp.device.load import HOST, list_targets, load_target
from edgecomp.errors import ExitCode
from edgecomp.options import CheckOptions
from edgecomp.writable import require_writable_file, writable

_HELP = f"""Say which operators of a model run how on which target.

Nothing is compiled. Ends with status 3 when a target cannot run the model.

{MODEL_HELP}
"""


@click.command("check", help=_HELP)
@model_argument
@with_options(CheckOptions)
@click.pass_context
def command(
    context: click.Context, model: str | None, options: CheckOptions, talk: Talk
) -> None:
    """Say which operators run how."""
    source = require_model(model)
    if options.sarif is not None:
        require_writable_file(options.sarif)
    # Before the model is read: a wrong name is found at once.
    names = options.target or (HOST, *(target.name for target in list_targets()))
    targets = [load_target(name) for name in names]
    from edgecomp import api

    report = api.check(source, targets, options.input, options.constant, options.bound)
    if options.sarif is not None:
        from edgecomp.lower.check_sarif import sarif

        _write(options.sarif, sarif(report, source))
    talk.render(report)
    if not report.possible:
        context.exit(int(ExitCode.UNSUPPORTED))


def _write(path: pathlib.Path, log: dict[str, Any]) -> None:
    from edgecomp.cache import write_whole

    with writable(path):
        write_whole(path, (json.dumps(log, indent=2) + "\n").encode())
