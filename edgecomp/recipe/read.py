"""Read recipes: YAML, JSON or TOML, strict about every name in them."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from edgecomp.data_file import Place, read_data_file
from edgecomp.errors import Code, EdgecompError, nearest_hint
from edgecomp.recipe.passes import PASSES, RecipePass, arguments_of, pass_named
from edgecomp.recipe.recipe import Recipe, Step
from edgecomp.records import RecordError, read_record

KEYS = ("pass", "targets", "ignore", "args")
#: Key of the list where a file has a table at the top, as TOML must.
LIST_KEY = "recipe"


def read_recipe(path: pathlib.Path) -> Recipe:
    """Read a file; its suffix says how it is written.

    Raises:
        EdgecompError: FILE_MISSING, or RECIPE_INVALID with the line where the form has lines.
    """
    try:
        data, lines = read_data_file(path)
    except FileNotFoundError as error:
        raise EdgecompError(
            Code.FILE_MISSING, "the recipe does not exist", path=str(path)
        ) from error
    except ValueError as error:
        raise _invalid(str(error), str(path)) from error
    return recipe_of(data, str(path), lines)


def recipe_of(data: Any, path: str = "", lines: Mapping[Place, int] | None = None) -> Recipe:
    """A recipe of plain data: a list of steps, or a table with such a list as ``recipe``.

    Args:
        data: what a parser gave.
        path: of the file, for messages.
        lines: line of each key and item, where it is known.

    Raises:
        EdgecompError: RECIPE_INVALID.
    """
    top: Place = ()
    if isinstance(data, Mapping):
        for key in data:
            if key != LIST_KEY:
                raise _invalid(
                    f"unknown key '{key}'",
                    _place(path, lines, (str(key),)),
                    f"a recipe is a list of steps, or a table with such a list as '{LIST_KEY}'",
                )
        top, data = (LIST_KEY,), data.get(LIST_KEY)
    if not isinstance(data, list):
        raise _invalid("expected a list of steps", path, "docs/recipes.md has examples")
    reader = _Reader(path, lines or {})
    return Recipe(tuple(reader.step(item, (*top, i)) for i, item in enumerate(data)))


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Steps out of plain data."""

    path: str
    lines: Mapping[Place, int]

    def step(self, item: Any, at: Place) -> Step:
        """One entry."""
        if not isinstance(item, Mapping):
            raise self._error(at, f"expected a step, found {item!r}", "- pass: quantize")
        for key in item:
            if key not in KEYS:
                raise self._error(
                    (*at, str(key)), f"unknown key '{key}'", nearest_hint(str(key), KEYS)
                )
        if "pass" not in item:
            raise self._error(at, "the step names no pass", _known_passes())
        kind = pass_named(str(item["pass"]))
        if kind is None:
            known = [each.name for each in PASSES]
            raise self._error(
                (*at, "pass"),
                f"unknown pass '{item['pass']}'",
                nearest_hint(str(item["pass"]), known),
            )
        return Step(
            kind,
            self._arguments(kind, item.get("args") or {}, (*at, "args")),
            self._names(item.get("targets"), (*at, "targets")),
            self._names(item.get("ignore"), (*at, "ignore")),
            _place(self.path, self.lines, at),
        )

    def _arguments(self, kind: RecipePass, given: Any, at: Place) -> Any:
        if not isinstance(given, Mapping):
            raise self._error(at, f"expected a table of arguments, found {given!r}")
        plain = {str(key).replace("-", "_"): value for key, value in given.items()}
        try:
            made: Any = read_record(kind.arguments, plain)
        except RecordError as error:
            where = (*at, error.key.partition("[")[0])
            known = [field.name for field, _ in arguments_of(kind)]
            hint = error.hint or f"'{kind.name}' takes " + (", ".join(known) or "no arguments")
            raise self._error(where, f"pass '{kind.name}': {error}", hint) from error
        return dataclasses.replace(made, **self._checked(kind, made, at))

    def _checked(self, kind: RecipePass, made: Any, at: Place) -> dict[str, Any]:
        """Canonical names of arguments with choices; numbers within their bounds."""
        changes = {}
        for field, facts in arguments_of(kind):
            value = getattr(made, field.name)
            if value is None:
                continue
            where = (*at, field.name)
            if facts.choices:
                names = {
                    a: name for name, more in facts.choices.items() for a in (name, *more)
                }
                if value.lower() not in names:
                    raise self._error(
                        where,
                        f"pass '{kind.name}': {field.name} '{value}' is unknown",
                        nearest_hint(value, facts.choices),
                    )
                changes[field.name] = names[value.lower()]
            if not facts.holds(value):
                raise self._error(
                    where,
                    f"pass '{kind.name}': {field.name} is {facts.bounds}, found {value:g}",
                )
        return changes

    def _names(self, given: Any, at: Place) -> tuple[str, ...]:
        names = [given] if isinstance(given, str) else given or []
        if not isinstance(names, Sequence) or not all(isinstance(n, str) for n in names):
            raise self._error(at, f"expected a list of names, found {given!r}")
        return tuple(names)

    def _error(self, at: Place, cause: str, hint: str = "") -> EdgecompError:
        return _invalid(cause, _place(self.path, self.lines, at), hint)


def _place(path: str, lines: Mapping[Place, int] | None, at: Place) -> str:
    """``file:line`` of the innermost part whose line is known."""
    while at and at not in (lines or {}):
        at = at[:-1]
    line = (lines or {}).get(at) if at else None
    return f"{path}:{line}" if line else path


def _known_passes() -> str:
    return "known: " + ", ".join(kind.name for kind in PASSES)


def _invalid(cause: str, place: str, hint: str = "") -> EdgecompError:
    return EdgecompError(
        Code.RECIPE_INVALID, cause, path=place, hint=hint or "docs/recipes.md has the form"
    )
