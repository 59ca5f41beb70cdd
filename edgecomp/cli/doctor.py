"""``edgecomp doctor``."""

import dataclasses
from collections.abc import Callable

import click

from edgecomp.cli.flags import with_options
from edgecomp.cli.table import table
from edgecomp.cli.talk import Talk
from edgecomp.doctor.finding import Finding, State
from edgecomp.errors import ExitCode

_MARKS = {State.OK: "ok", State.MISSING: "missing", State.WRONG: "wrong"}


@click.command("doctor")
@with_options(None)
@click.pass_context
def command(context: click.Context, talk: Talk) -> None:
    """Say what is installed here, and how to get what is missing.

    Ends with status 9 when nothing can be compiled for this machine.
    """
    from edgecomp.doctor import host, packages, programs, toolchains

    sections: dict[str, Callable[[], list[Finding]]] = {
        "this machine": host.look,
        "python packages": packages.look,
        "C compilers": toolchains.look,
        "programs": programs.look,
    }
    findings: dict[str, list[Finding]] = {}
    with talk.progress() as progress:
        for index, (name, look) in enumerate(sections.items()):
            progress(f"look at {name}", index, len(sections))
            findings[name] = look()
    talk.result(_as_dict(findings), _text(findings))
    if any(f.fatal and f.state is not State.OK for part in findings.values() for f in part):
        context.exit(int(ExitCode.TOOLCHAIN))


def _as_dict(findings: dict[str, list[Finding]]) -> dict[str, list[dict[str, object]]]:
    return {
        name: [{**dataclasses.asdict(f), "state": f.state.value} for f in part]
        for name, part in findings.items()
    }


def _text(findings: dict[str, list[Finding]]) -> str:
    parts = []
    for name, part in findings.items():
        rows = [(f.name, _MARKS[f.state], f.found, f.purpose) for f in part]
        hints = [
            f"hint: {f.name}: {f.hint}" for f in part if f.state is not State.OK and f.hint
        ]
        parts.append("\n".join([table((name, "", "found", "for"), rows), *hints]))
    return "\n\n".join(parts)
