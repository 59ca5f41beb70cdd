"""What a user gave as the model: its place in errors, its name, an output beside it."""

import contextlib
import os
import pathlib
from collections.abc import Collection, Iterator
from typing import Any

from edgecomp.errors import Code, EdgecompError
from edgecomp.plan.names import c_identifier
from edgecomp.writable import require_writable_file


@contextlib.contextmanager
def errors_about(source: Any, only: Collection[Code] = ()) -> Iterator[None]:
    """Errors inside that name no file are about this one; ``only`` those of some codes."""
    try:
        yield
    except EdgecompError as error:
        if isinstance(source, (str, pathlib.Path)) and (not only or error.code in only):
            error.path = error.path or str(source)
        raise


def name_of(model: Any) -> str:
    """C identifier from the source's name."""
    if isinstance(model, (str, pathlib.Path)):
        text = str(model)
        entry = text.rpartition(":")[2] if ":" in text else pathlib.Path(text).stem
        return c_identifier(entry)
    return c_identifier(type(model).__name__.lower())


def require_free(
    path: pathlib.Path, source: Any, *, force: bool, flag: str = "--output"
) -> None:
    """Refuse a file that cannot or must not be written, before any work is done.

    Args:
        path: of the file.
        source: the model.
        force: whether it may be replaced.
        flag: that it was given by.

    Raises:
        EdgecompError: OUTPUT_EXISTS, OUTPUT_UNWRITABLE.
    """
    if os.path.lexists(path):
        _require_replaceable(path, source, force=force, flag=flag)
    require_writable_file(path)


def _require_replaceable(path: pathlib.Path, source: Any, *, force: bool, flag: str) -> None:
    cause = "the output exists already"
    hint = f"give another {flag}, or --force to replace it"
    if path.is_dir():
        cause, hint = "the output is a folder", f"give the name of a file with {flag}"
    elif isinstance(source, (str, pathlib.Path)) and path.resolve() == _resolved(source):
        cause, hint = "the output is the model itself", f"give another {flag}"
    elif force:
        return
    raise EdgecompError(Code.OUTPUT_EXISTS, cause, path=str(path), hint=hint)


def _resolved(source: str | pathlib.Path) -> pathlib.Path:
    return pathlib.Path(source).resolve()
