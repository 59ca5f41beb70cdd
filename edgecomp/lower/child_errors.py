"""What goes wrong in a process that works for this one, said as what it is."""

import contextlib
import pickle
import signal
import traceback
from collections.abc import Iterable

from edgecomp.errors import Code, EdgecompError

_KEPT = "what was compiled is kept"


class RaisedThereError(Exception):
    """Where an error was raised in the other process: its cause in this one."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"


def sendable(error: Exception) -> Exception:
    """An error as it is, or in its own words where it cannot go to another process."""
    with contextlib.suppress(Exception):
        pickle.loads(pickle.dumps(error))  # noqa: S301 - some can be written and not be read
        return error
    return EdgecompError(Code.INTERNAL, f"{type(error).__name__}: {error}")


def packed_error(error: Exception) -> bytes:
    """What ``raised`` takes, with the traceback of the exception that is handled."""
    return pickle.dumps((sendable(error), traceback.format_exc()))


def raised(packed: bytes) -> Exception:
    """The error of another process, to be raised in this one."""
    error, text = pickle.loads(packed)  # noqa: S301 - of a process of our own
    assert isinstance(error, Exception)
    error.__cause__ = RaisedThereError(text)
    return error


def stopped(exit_codes: Iterable[int | None]) -> EdgecompError:
    """That processes which compiled are gone without a word.

    Args:
        exit_codes: as ``multiprocessing`` gives them, negative for a signal. Processes that were
            told to end because another one was gone have SIGTERM.
    """
    codes = [code for code in exit_codes if code]
    told = -signal.SIGTERM
    code = next((code for code in codes if code != told), told if codes else -signal.SIGKILL)
    if code == -signal.SIGKILL:
        return EdgecompError(
            Code.OUT_OF_MEMORY,
            "the system stopped a process that was compiling, most often because memory ran out",
            hint=f"close other programs and build again: {_KEPT}",
        )
    how = f"ended with status {code}"
    if code < 0:
        with contextlib.suppress(ValueError):  # a signal without a name: its number
            how = f"was ended by {signal.Signals(-code).name}"
    return EdgecompError(
        Code.INTERNAL,
        f"a process that was compiling {how}",
        hint=f"build again: {_KEPT}; report it where it happens twice",
    )
