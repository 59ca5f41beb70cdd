"""Plain data out of YAML, JSON and TOML files, with the line of each part where the form has lines."""

import json
import pathlib
import tomllib
from collections.abc import Iterator
from typing import Any

SUFFIXES = (".yaml", ".yml", ".json", ".toml")

#: A place in the data: keys and indices from the top.
Place = tuple[str | int, ...]


def read_data_file(path: pathlib.Path) -> tuple[Any, dict[Place, int]]:
    """Read a file; its suffix says how it is written.

    Returns:
        What is in it, and the line of every key and item; no lines of TOML.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it cannot be read, or a key is given twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return _parse(path, text), {} if path.suffix == ".toml" else dict(_lines(text))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot be read: {error}") from error


def _parse(path: pathlib.Path, text: str) -> Any:
    """Every parser's error becomes a ``ValueError``."""
    if path.suffix == ".toml":
        return tomllib.loads(text)
    if path.suffix == ".json":
        return json.loads(text)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"the suffix '{path.suffix}' is none of {', '.join(SUFFIXES)}")
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def _lines(text: str) -> Iterator[tuple[Place, int]]:
    """The line of every key and item of YAML, which JSON is too."""
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:  # JSON with tabs
        return
    if root is not None:
        yield from _lines_below(root, ())


def _lines_below(node: Any, at: Place) -> Iterator[tuple[Place, int]]:
    import yaml

    yield at, node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _lines_below(item, (*at, index))
    elif isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                raise ValueError(
                    f"line {key.start_mark.line + 1}: '{key.value}' is given twice"
                )
            seen.add(key.value)
            yield from _lines_below(value, (*at, str(key.value)))
            yield (*at, str(key.value)), key.start_mark.line + 1
