"""``edgecomp targets``."""

import dataclasses
from typing import Any

import click

from edgecomp.cli.flags import with_options
from edgecomp.cli.table import size, table
from edgecomp.cli.talk import Talk
from edgecomp.device.load import HOST, list_targets, load_target
from edgecomp.device.target import Target
from edgecomp.errors import EdgecompError


@click.command("targets")
@click.argument("name", required=False)
@with_options(None)
def command(name: str | None, talk: Talk) -> None:
    """List the devices, or print the facts about one.

    Every figure is printed with its source. NAME is a target, an alias, 'host', or the path of a target file.
    """
    if name:
        target = load_target(name)
        talk.result(as_dict(target), _details(target))
        return
    targets = list_targets()
    try:
        targets.insert(0, load_target(HOST))
    except EdgecompError as error:
        talk.note(f"host: {error.cause}")
    talk.result([as_dict(target) for target in targets], _overview(targets))


def as_dict(target: Target) -> dict[str, Any]:
    """A target for ``--json``; sets in a fixed order."""
    facts = dataclasses.asdict(target)
    facts["core"]["features"] = sorted(target.core.features)
    if target.gpu is not None:
        facts["gpu"]["features"] = sorted(target.gpu.features)
    return facts


def _overview(targets: list[Target]) -> str:
    rows = [
        (t.name, t.core.isa, " ".join(sorted(t.core.features)), t.threads, t.summary)
        for t in targets
    ]
    return table(("name", "isa", "features", "threads", "what it is"), rows)


def _details(target: Target) -> str:
    rows = [
        (key, _text(key, value), target.sources.get(key, ""))
        for key, value in _flatten(as_dict(target), "")
        if not key.startswith("sources") and value not in (None, "", [], ())
    ]
    return table(("fact", "value", "source"), rows)


def _flatten(facts: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in facts.items():
        if isinstance(value, dict):
            found += _flatten(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found


def _text(key: str, value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(str(item) for item in value)
    return size(value) if key.endswith("_bytes") else str(value)
