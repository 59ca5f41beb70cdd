"""What an option is: a field of a dataclass, with its help text and how its value is checked.

A field is an option: its name with dashes is the flag, its type says how the value is written,
its metadata holds the help text. ``tuple[str, ...]`` is a flag that may be repeated, a
``tuple[float, ...]`` is written with commas, a ``bool`` is ``--flag/--no-flag``.
"""

import dataclasses
import inspect
import os
import pathlib
from collections.abc import Sequence
from typing import Any, get_args

from edgecomp.errors import Code, EdgecompError, nearest_hint


@dataclasses.dataclass(frozen=True)
class OptionFacts:
    """What the command line and the reference page need to know about a field.

    Attributes:
        help: one sentence without a final period.
        flags: further spellings, ``-o``.
        metavar: what stands for the value, or "" for the type's own.
        choices: allowed values, or () for any.
    """

    help: str
    flags: tuple[str, ...] = ()
    metavar: str = ""
    choices: tuple[str, ...] = ()


def option(
    default: Any,
    help: str,  # noqa: A002 - the word click and argparse have
    *,
    flags: Sequence[str] = (),
    metavar: str = "",
    choices: Sequence[str] = (),
) -> Any:
    """A field with its ``OptionFacts``."""
    facts = OptionFacts(help, tuple(flags), metavar, tuple(choices))
    return dataclasses.field(default=default, metadata={"option": facts})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Runs the ``_check`` of every class an options class is made of.

    A path may be given as a text.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str) and pathlib.Path in get_args(field.type):
                set_field(self, field.name, pathlib.Path(value))
        for cls in reversed(type(self).__mro__):
            check = cls.__dict__.get("_check")
            if check is not None:
                check(self)


def fields_of(cls: type) -> "list[dataclasses.Field[Any]]":
    """The fields of an options class, its own before those of its bases."""
    by_name = {field.name: field for field in dataclasses.fields(cls)}
    names = [name for part in cls.__mro__ for name in inspect.get_annotations(part)]
    return [by_name[name] for name in dict.fromkeys(names) if name in by_name]


def facts_of(field: "dataclasses.Field[Any]") -> OptionFacts:
    """The metadata of an option's field."""
    facts: OptionFacts = field.metadata["option"]
    return facts


def flag_of(name: str) -> str:
    """``num_samples`` to ``--num-samples``."""
    return "--" + name.replace("_", "-")


def resolve(name: str, value: str, known: dict[str, Any]) -> str:
    """The canonical name of a value that may be an alias."""
    for canonical, aliases in known.items():
        if value.lower() in (canonical, *aliases):
            return canonical
    raise usage(name, f"unknown '{value}'", hint=nearest_hint(value, known))


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise where a value is none of its choices."""
    if value not in choices:
        raise usage(name, f"unknown '{value}'", hint=nearest_hint(value, choices))


def check_range(name: str, value: int, low: int, high: int | None) -> None:
    """Raise where a number is out of its limits; ``high`` is None where there is none."""
    if value < low or (high is not None and value > high):
        limits = f"at least {low}" if high is None else f"{low} to {high}"
        raise usage(name, f"expected {limits}, found {value}")


def check_apart(options: Any, names: Sequence[str], folders: Sequence[str] = ()) -> None:
    """Raise where two of the files that are written are the same one, or one inside another.

    Args:
        options: that name them.
        names: options of files, and of folders that are written whole.
        folders: options of folders that get files one by one; those may hold the others.
    """
    known: dict[str, str] = {}
    for name in (*names, *folders):
        path = getattr(options, name)
        if path is None:
            continue
        place = os.path.realpath(path)
        if place in known:
            raise usage(name, f"the same file as {flag_of(known[place])}")
        known[place] = name
    for place, name in known.items():
        for parent in pathlib.PurePath(place).parents:
            other = known.get(str(parent), "")
            if other in names:
                raise usage(
                    name, f"lies inside {flag_of(other)}", hint="give a place beside it"
                )


def set_field(options: Any, name: str, value: Any) -> None:
    """Normalize a field of a frozen dataclass, from ``__post_init__`` only."""
    object.__setattr__(options, name, value)


def usage(name: str, cause: str, hint: str = "") -> EdgecompError:
    """What is wrong with the value of an option."""
    return EdgecompError(Code.USAGE, f"{flag_of(name)}: {cause}", hint=hint)
