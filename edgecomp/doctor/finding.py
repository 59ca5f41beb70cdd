"""One line of the doctor's table."""

import dataclasses
import enum


class State(enum.Enum):
    """How a thing was found."""

    OK = "ok"
    MISSING = "missing"
    WRONG = "wrong"  # there, but of a version or kind that does not work


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        name: of the package, program or target.
        state: how it was found.
        found: version, path, or what went wrong.
        purpose: what it is needed for.
        hint: how to get it, or "".
        fatal: whether nothing works here without it.
    """

    name: str
    state: State
    found: str = ""
    purpose: str = ""
    hint: str = ""
    fatal: bool = False
