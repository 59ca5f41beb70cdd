"""How long work says how far it is. The command line shows it, tests and libraries ignore it."""

from typing import Protocol


class Progress(Protocol):
    """Called at the start of a step, and in a step whenever a part of it is done."""

    def __call__(self, step: str, done: int = 0, total: int = 0) -> None:
        """Report.

        Args:
            step: what is being done ("compile kernels"), the same text for the whole step.
            done: parts done.
            total: parts in all, 0 where that is not known.
        """


def silent(step: str, done: int = 0, total: int = 0) -> None:
    """Show nothing."""
