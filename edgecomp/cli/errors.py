"""Errors as the command line shows them."""

import json
import sys
from collections.abc import Sequence

import click

from edgecomp.errors import Code, EdgecompError


def show(error: EdgecompError, arguments: Sequence[str]) -> int:
    """Print an error to stderr, with ``--json`` to stdout too, and return the exit status."""
    if "--json" in arguments:
        click.echo(json.dumps({"error": error.as_dict()}, indent=2))
        sys.stdout.flush()
    click.echo(f"{click.style('error', fg='red', bold=True)}: {error}", err=True)
    return int(error.code.exit_code)


def from_click(error: click.ClickException) -> EdgecompError:
    """What click found wrong with the command line."""
    message = error.format_message().rstrip(".")
    hint = ""
    context = getattr(error, "ctx", None)
    if context is not None:
        hint = f"see '{context.command_path} --help'"
    return EdgecompError(Code.USAGE, message[:1].lower() + message[1:], hint=hint)


def internal(error: Exception) -> EdgecompError:
    """An exception that nobody expected."""
    return EdgecompError(
        Code.INTERNAL,
        f"{type(error).__name__}: {error}" if str(error) else type(error).__name__,
        hint="this is a defect of edgecomp: run again with -v and report the traceback",
    )
