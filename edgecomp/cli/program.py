"""The ``edgecomp`` program: finds the verb, turns every error into a message and a status."""

# ruff: noqa: ARG002 - click gives the methods more than they need.

import atexit
import contextlib
import gc
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from edgecomp import __version__
from edgecomp.cli.errors import from_click, internal, show
from edgecomp.errors import Code, EdgecompError, ExitCode, nearest_hint

#: Verb -> its one line, in the order of a model's way. The module is only imported to run it.
VERBS = {
    "build": "Compile a model into a bundle for a device.",
    "quantize": "Write the portable quantized model (QDQ ONNX).",
    "debug": "Find the layers that a quantized model loses its accuracy in.",
    "check": "Say which operators of a model run how on which target.",
    "run": "Run a bundle once.",
    "verify": "Compare a bundle's results on a device with its golden vectors.",
    "benchmark": "Measure a bundle on a device.",
    "tune": "Measure a model's kernels on a device; later builds take the fastest.",
    "report": "Print what a bundle holds and what was found while it was built.",
    "targets": "List the devices, or print the facts about one.",
    "doctor": "Say what is installed here, and how to get what is missing.",
}

#: New objects after which Python looks for cycles.
_COLLECTED_OBJECTS = 100_000
#: Status of a process whose reader went away, as shells have it: 128 + SIGPIPE.
_BROKEN_PIPE = 141


class Program(click.Group):
    """The group of verbs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Verbs in the order of a model's way."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb's module, ``edgecomp.cli.<verb>``."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"edgecomp.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Offer the nearest verb for an unknown one."""
        if args[0] not in VERBS and not args[0].startswith("-"):
            raise EdgecompError(
                Code.USAGE, f"no such verb '{args[0]}'", hint=nearest_hint(args[0], VERBS)
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; a reader that went away (``| head``) is no error."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # The interpreter flushes once more at its end.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(_BROKEN_PIPE)
        return result

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        **extra: Any,
    ) -> NoReturn:
        """Run and end the process with the status of ``ExitCode``."""
        arguments = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        try:
            result = super().main(arguments, "edgecomp", **extra)
        except EdgecompError as error:
            sys.exit(show(error, arguments))
        except (click.exceptions.Abort, KeyboardInterrupt):
            sys.exit(show(EdgecompError(Code.INTERRUPTED, "interrupted"), arguments))
        except click.ClickException as error:
            sys.exit(show(from_click(error), arguments))
        except Exception as error:
            if {"-v", "--verbose"} & set(arguments):
                click.echo(traceback.format_exc(), err=True)
            sys.exit(show(internal(error), arguments))
        sys.exit(result if isinstance(result, int) else ExitCode.OK)


@click.group(
    cls=Program,
    invoke_without_command=True,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda token: token.replace("_", "-"),
        "max_content_width": 100,
    },
    epilog="Exit status: 0 done, 2 usage, 3 operator not supported, 4 accuracy, 5 latency, "
    "7 numbers differ, 8 device, 9 toolchain, 10 version or damage, 11 calibration data, "
    "12 benchmark inconclusive, 130 interrupted, 1 internal. See docs/errors.md.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def program(context: click.Context) -> None:
    """Compile a trained model into a small native program for a device."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> NoReturn:
    """Entry of the ``edgecomp`` command."""
    # Graphs and kernels are millions of small objects that live to the end: looking through them
    # for cycles as often as Python does by itself takes a tenth of a build.
    gc.set_threshold(_COLLECTED_OBJECTS)
    # And at the end, where all of them go with the process.
    atexit.register(gc.freeze)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, _terminate)
    program.main()


def _terminate(number: int, _frame: object) -> NoReturn:
    """End by an exception, so that half-written folders are removed on the way out."""
    for other in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)  # a second one must not interrupt that
    raise SystemExit(128 + number)
