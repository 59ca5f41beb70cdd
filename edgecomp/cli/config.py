"""Configuration files: the options of a verb as YAML, TOML or JSON."""

import pathlib
import typing
from collections.abc import Sequence
from typing import Any

from edgecomp.data_file import read_data_file
from edgecomp.errors import Code, EdgecompError, nearest_hint
from edgecomp.options.option import facts_of, fields_of
from edgecomp.records import RecordError, convert


def read_config(path: pathlib.Path, cls: type) -> dict[str, Any]:
    """Read the options of a class, and ``model``.

    Args:
        path: file whose suffix says how it is written.
        cls: options class; its field names are the keys, with ``-`` or ``_``.

    Returns:
        Field name (or ``model``) -> value of the field's type. Values are checked when the
        options object is made from them.

    Raises:
        EdgecompError: ``FILE_MISSING``, or ``USAGE`` for what cannot be read, an unknown key or
            a value of another type.
    """
    table = _read(path)
    if not isinstance(table, dict):
        raise _bad(path, "expected keys and values at the top")
    kinds = {"model": str, **typing.get_type_hints(cls)}
    words = {field.name: facts_of(field).metavar.split("|") for field in fields_of(cls)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = str(key).replace("-", "_")
        if name not in kinds:
            raise _bad(path, f"unknown key '{key}'", nearest_hint(name, kinds))
        if name in values:
            raise _bad(path, f"'{name}' is given twice")
        value = _as_word(kinds[name], words.get(name, ()), value)
        try:
            values[name] = convert(kinds[name], _as_sequence(kinds[name], value), str(key))
        except RecordError as error:
            raise _bad(path, str(error), error.hint) from error
    return values


def _read(path: pathlib.Path) -> Any:
    try:
        data, _ = read_data_file(path)
    except FileNotFoundError as error:
        raise EdgecompError(
            Code.FILE_MISSING, "the configuration file does not exist", path=str(path)
        ) from error
    except ValueError as error:
        raise _bad(path, str(error)) from error
    return {} if data is None else data


def _as_sequence(kind: Any, value: Any) -> Any:
    """One item may stand for a list of one, as a flag given once does."""
    if typing.get_origin(kind) is tuple and isinstance(value, str | int | float):
        return [value]
    return value


def _as_word(kind: Any, words: Sequence[str], value: Any) -> Any:
    """A text that is a number or one of some words: YAML reads 0.5 as a number and off as false."""
    if len(words) < 2 or str not in (kind, *typing.get_args(kind)):
        return value
    if value is False and "off" in words:
        return "off"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


def _bad(path: pathlib.Path, cause: str, hint: str = "") -> EdgecompError:
    return EdgecompError(Code.USAGE, f"configuration file: {cause}", path=str(path), hint=hint)
