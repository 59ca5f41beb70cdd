"""Dataclasses out of text files: strict about keys and types, and exact about which one is wrong.

Target files and configuration files are read through here.
"""

import collections.abc
import dataclasses
import pathlib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from edgecomp.errors import nearest_hint

T = TypeVar("T")


class RecordError(ValueError):
    """A key or a value does not fit. The caller adds the file.

    Attributes:
        key: dotted key.
        hint: what would fit, or "".
    """

    def __init__(self, key: str, problem: str, hint: str = "") -> None:
        super().__init__(f"{key}: {problem}" if key else problem)
        self.key = key
        self.hint = hint


def read_record(cls: type[T], table: Mapping[str, Any], *, prefix: str = "") -> T:
    """Make a dataclass from a table whose keys are its field names.

    Args:
        cls: a dataclass; nested dataclasses are nested tables.
        table: what a TOML, YAML or JSON file gave.
        prefix: dotted key of the table itself, for messages.

    Raises:
        RecordError: unknown key, missing key, or a value of another type; also when the
            dataclass itself refuses the values (``ValueError`` in ``__post_init__``).
    """
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    kinds = typing.get_type_hints(cls)
    for key in table:
        if key not in fields:
            raise RecordError(_join(prefix, str(key)), "unknown key", _known(str(key), fields))
    values = {
        key: convert(kinds[key], value, _join(prefix, key)) for key, value in table.items()
    }
    for name, field in fields.items():
        if name not in values and _is_required(field):
            raise RecordError(_join(prefix, name), "missing")
    try:
        return cls(**values)
    except RecordError:
        raise
    except ValueError as error:
        raise RecordError(prefix, str(error)) from error


def convert(kind: Any, value: Any, key: str) -> Any:
    """Return ``value`` as ``kind``, a type as dataclass fields have it.

    Raises:
        RecordError: it is something else.
    """
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return _convert_optional(kind, value, key)
    if origin in (tuple, frozenset):
        return _convert_sequence(origin, typing.get_args(kind)[0], value, key)
    if origin in (dict, collections.abc.Mapping):
        return _convert_mapping(typing.get_args(kind)[1], value, key)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _convert_dataclass(kind, value, key)
    return _convert_scalar(kind, value, key)


def _convert_optional(kind: Any, value: Any, key: str) -> Any:
    (inner,) = (a for a in typing.get_args(kind) if a is not types.NoneType)
    return None if value is None else convert(inner, value, key)


def _convert_sequence(origin: Any, item: Any, value: Any, key: str) -> Any:
    if not isinstance(value, list | tuple):
        raise RecordError(key, f"expected a list, found {_describe(value)}")
    return origin(convert(item, v, f"{key}[{i}]") for i, v in enumerate(value))


def _convert_mapping(item: Any, value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise RecordError(key, f"expected a table, found {_describe(value)}")
    return {str(k): convert(item, v, _join(key, str(k))) for k, v in value.items()}


def _convert_dataclass(kind: type, value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return read_record(kind, value, prefix=key)
    parse = getattr(kind, "parse", None)
    if parse is None or not isinstance(value, str):
        raise RecordError(key, f"expected a table, found {_describe(value)}")
    try:
        return parse(value)
    except ValueError as error:
        raise RecordError(key, str(error)) from error


def _convert_scalar(kind: Any, value: Any, key: str) -> Any:
    # bool is an int in Python, never in a file.
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is pathlib.Path and isinstance(value, str):
        return pathlib.Path(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise RecordError(key, f"expected {_NAMES.get(kind, kind)}, found {_describe(value)}")
    return value


_NAMES = {
    str: "text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    pathlib.Path: "a path",
}


def _describe(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else repr(value)


def _known(key: str, fields: Mapping[str, Any]) -> str:
    """The nearest name where there is one, and always all of them."""
    nearest = nearest_hint(key, fields)
    everything = "known: " + ", ".join(sorted(fields))
    return everything if nearest == everything else f"{nearest} ({everything})"


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _join(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key
