"""What files of targets with and without a GPU are checked for alike."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from edgecomp.records import RecordError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


def check_names(name: str, aliases: Sequence[str]) -> None:
    """The name and the aliases of a target are what ``--target`` takes.

    Raises:
        RecordError: one of them is not.
    """
    for each in (name, *aliases):
        if not _NAME.fullmatch(each):
            key = "name" if each == name else "aliases"
            raise RecordError(key, f"'{each}' is not lower case letters, digits and ._-")


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """A value is one of those that are known.

    Raises:
        RecordError: it is none of them.
    """
    if value not in choices:
        raise RecordError(key, f"unknown '{value}'", "known: " + ", ".join(choices))


def check_positive(record: Any, prefix: str) -> None:
    """No number of a dataclass is 0 or below: an unknown figure is absent.

    Args:
        record: the dataclass.
        prefix: key of its table.

    Raises:
        RecordError: naming the first that is.
    """
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if isinstance(value, int) and not isinstance(value, bool) and value <= 0:
            key = f"{prefix}.{field.name}"
            raise RecordError(key, f"expected a positive number, found {value}")
