"""``file.py:function`` and ``package.module:function``: user code that builds the model."""

import importlib
import pathlib
import traceback
from collections.abc import Mapping
from typing import Any

from edgecomp.errors import Code, EdgecompError, nearest_hint
from edgecomp.user_files import import_file

_FORM = "the function takes no arguments and returns (module, example inputs)"


def is_entry(text: str) -> bool:
    """Whether a source names a function rather than a file."""
    place, colon, function = text.rpartition(":")
    return bool(colon and place and function.isidentifier() and len(place) > 1)


def call_entry(text: str) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """Import the code, call the function.

    Args:
        text: ``file.py:function`` or ``package.module:function``.

    Returns:
        What the function returned: the module, the positional example inputs and the keyword
        ones.

    Raises:
        EdgecompError: FILE_MISSING, or ENTRY_INVALID with the user's own line.
    """
    place, _, name = text.rpartition(":")
    module = _import(place, text)
    function = getattr(module, name, None)
    if not callable(function):
        known = [
            key for key, value in vars(module).items() if callable(value) and key[0] != "_"
        ]
        raise EdgecompError(
            Code.ENTRY_INVALID,
            f"'{place}' has no function '{name}'",
            path=place,
            hint=nearest_hint(name, known) if known else _FORM,
        )
    try:
        result = function()
    except (Exception, SystemExit) as error:  # anything can go wrong in user code
        raise EdgecompError(
            Code.ENTRY_INVALID,
            f"{name}() failed: {type(error).__name__}: {error}",
            source=_user_line(error),
            path=place,
            hint=_FORM,
        ) from error
    return _unpack(result, text)


def _import(place: str, text: str) -> Any:
    try:
        if place.endswith(".py"):
            return _import_file(pathlib.Path(place), text)
        return importlib.import_module(place)
    except EdgecompError:
        raise
    except ModuleNotFoundError as error:
        hint = "is it installed in this environment?"
        if error.name and place.startswith(error.name):
            hint = "give file.py:function, or run where the package can be imported"
        raise EdgecompError(
            Code.ENTRY_INVALID, f"cannot import '{place}': {error}", path=place, hint=hint
        ) from error
    except (Exception, SystemExit) as error:  # anything can go wrong in user code
        raise EdgecompError(
            Code.ENTRY_INVALID,
            f"cannot import '{place}': {type(error).__name__}: {error}",
            source=_user_line(error),
            path=place,
        ) from error


def _import_file(path: pathlib.Path, text: str) -> Any:
    if not path.is_file():
        raise EdgecompError(
            Code.FILE_MISSING, "no such file", path=str(path), hint=f"'{text}': {_FORM}"
        )
    return import_file(path, f"edgecomp_entry_{path.stem}")


def _unpack(result: Any, text: str) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    if not isinstance(result, tuple) or len(result) not in (2, 3):
        raise EdgecompError(
            Code.ENTRY_INVALID,
            f"'{text}' returned {type(result).__name__}, not (module, example inputs)",
            hint=_FORM,
        )
    module, args = result[0], result[1]
    kwargs = result[2] if len(result) == 3 else {}
    if not isinstance(kwargs, Mapping):
        raise EdgecompError(
            Code.ENTRY_INVALID,
            f"'{text}' returned {type(kwargs).__name__} as third value, not keyword inputs",
            hint="the third value is a dictionary of keyword inputs",
        )
    if isinstance(args, Mapping):
        return module, (), {**args, **kwargs}
    if not isinstance(args, (tuple, list)):
        args = (args,)
    return module, tuple(args), dict(kwargs)


def _user_line(error: BaseException) -> str:
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and frame.filename != __file__
    ]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{pathlib.Path(error.filename).name}:{error.lineno}"
    if not frames:
        return ""
    return f"{pathlib.Path(frames[-1].filename).name}:{frames[-1].lineno}"
