"""Targets by name."""

import functools
import pathlib
from collections.abc import Callable

from edgecomp.device.host import detect_host
from edgecomp.device.read import read_names, read_target
from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError, nearest_hint
from edgecomp.resources import resource_folder

#: The machine edgecomp runs on; its facts are detected, it has no file.
HOST = "host"


def load_target(name: str) -> Target:
    """Return a target.

    Args:
        name: of a target, one of its aliases, ``host``, or the path of a target file (anything
            with a slash or the suffix ``.toml``).

    Raises:
        EdgecompError: ``TARGET_UNKNOWN`` with the nearest name, ``TARGET_INVALID``,
            ``FILE_MISSING``.
    """
    return _load(name, _load)


def _load(name: str, cpu_target: Callable[[str], Target] | None = None) -> Target:
    """As ``load_target``; ``cpu_target`` is ``read_target``'s."""
    if name == HOST:
        return detect_host()
    if "/" in name or name.endswith(".toml"):
        return read_target(pathlib.Path(name), cpu_target)
    wanted = name.lower().replace("_", "-")
    names = _names()
    if wanted not in names:
        raise EdgecompError(
            Code.TARGET_UNKNOWN,
            f"no target is called '{name}'",
            hint=f"{nearest_hint(wanted, [*names, HOST])} 'edgecomp targets' lists them",
        )
    return read_target(names[wanted], cpu_target)


def list_targets() -> list[Target]:
    """The targets that have a file, sorted by name; ``host`` is not among them.

    Where this machine is none that edgecomp knows, those with a GPU beside it are left out.
    """
    targets = []
    for path in _files():
        try:
            targets.append(read_target(path, _load))
        except EdgecompError as error:
            if error.code is not Code.TARGET_UNKNOWN:
                raise
    return targets


def _files() -> list[pathlib.Path]:
    return sorted(resource_folder("targets").glob("*.toml"))


@functools.cache
def _names() -> dict[str, pathlib.Path]:
    """Name and alias -> file."""
    names: dict[str, pathlib.Path] = {}
    for path in _files():
        for name in read_names(path):
            names[name] = path
    return names
