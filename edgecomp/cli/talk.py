"""What a verb says: results to stdout; progress, notes and logs to stderr."""

import contextlib
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from edgecomp.options import TalkOptions
from edgecomp.progress import Progress, silent

#: Without a terminal a step that takes long says so this often.
_LINE_INTERVAL_S = 10.0
#: Width of tables that are piped, where 80 columns would cut names.
_PIPE_COLUMNS = 160


class Talk:
    """The ways to say something, under ``--json``, ``-q`` and ``-v``."""

    def __init__(self, options: TalkOptions) -> None:
        self.options = options
        level = options.log_level or ("info" if options.verbose else "warning")
        logging.basicConfig(
            stream=sys.stderr,
            level=level.upper(),
            format="%(levelname)s %(name)s: %(message)s",
        )

    @property
    def json(self) -> bool:
        """Whether results are JSON."""
        return self.options.json

    def result(self, value: Mapping[str, Any] | list[Any], text: str) -> None:
        """Print a result: ``value`` under ``--json``, else ``text``."""
        if self.json:
            click.echo(json.dumps(value, indent=2, default=_plain))
        elif text:
            click.echo(text)

    def render(self, result: Any) -> None:
        """Print a result that has ``as_dict()`` and ``render(console)``."""
        if self.json:
            self.result(result.as_dict(), "")
            return
        from rich.console import Console

        width = None if sys.stdout.isatty() else _PIPE_COLUMNS
        result.render(Console(file=sys.stdout, width=width, highlight=False))

    def note(self, text: str) -> None:
        """Say something besides the result."""
        if not self.options.quiet:
            click.echo(text, err=True)

    @contextlib.contextmanager
    def progress(self) -> Iterator[Progress]:
        """A progress bar on a terminal, else lines; nothing with ``-q``."""
        if self.options.quiet:
            yield silent
        elif sys.stderr.isatty():
            with _bar() as progress:
                yield progress
        else:
            yield _Lines()


class _Lines:
    """A line per step, and for a long one a line now and then."""

    def __init__(self) -> None:
        self._step = ""
        self._said_at = 0.0

    def __call__(self, step: str, done: int = 0, total: int = 0) -> None:
        now = time.monotonic()
        if step != self._step:
            self._step, self._said_at = step, now
            click.echo(f"{step} ...", err=True)
        elif total and now - self._said_at >= _LINE_INTERVAL_S:
            self._said_at = now
            click.echo(f"{step}: {done} of {total}", err=True)


@contextlib.contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    tasks: dict[str, Any] = {}
    with Bars(*columns, console=Console(stderr=True)) as bars:

        def show(step: str, done: int = 0, total: int = 0) -> None:
            if step not in tasks:
                for other in tasks.values():
                    _finish(bars, other)
                tasks[step] = bars.add_task(step, total=None)
            bars.update(tasks[step], completed=done, total=total or None)

        yield show
        for task in tasks.values():
            _finish(bars, task)


def _finish(bars: Any, task: Any) -> None:
    """A step ends when the next begins: fill its bar and stop its clock."""
    total = bars.tasks[task].total or 1
    bars.update(task, completed=total, total=total)
    bars.stop_task(task)


def _plain(value: Any) -> Any:
    """JSON for what it does not know: paths, sets and numpy numbers."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return sorted(value) if isinstance(value, set | frozenset) else str(value)
