"""Files that verbs write."""

import contextlib
import pathlib
import re
from collections.abc import Iterable, Iterator

from edgecomp.errors import Code, EdgecompError


@contextlib.contextmanager
def writable(path: pathlib.Path) -> Iterator[None]:
    """Turn the system's refusal to write into an error that names the file."""
    try:
        yield
    except OSError as error:
        raise EdgecompError(
            Code.OUTPUT_UNWRITABLE,
            f"cannot be written: {error.strerror or error}",
            path=str(error.filename or path),
        ) from error


def safe_names(names: Iterable[str]) -> list[str]:
    """File names for tensor names, which may hold slashes; distinct ones stay distinct."""
    safe: list[str] = []
    for name in names:
        stem = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "output"
        while stem in safe:
            stem += "_"
        safe.append(stem)
    return safe
