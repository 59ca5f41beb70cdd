"""Parameters of a schedule as text: ``axis=0 rows=12 vectors=2``, whole numbers only."""

from collections.abc import Collection, Mapping


class ParamsError(ValueError):
    """A text names no parameters that fit the operation."""


def params_text(values: Mapping[str, int]) -> str:
    """``name=value`` with spaces between, in the order given."""
    return " ".join(f"{name}={int(value)}" for name, value in values.items())


def read_params(
    text: str, required: Collection[str], optional: Collection[str] = ()
) -> dict[str, int]:
    """The values of a text.

    Args:
        text: as ``params_text`` writes it.
        required: names that it must have.
        optional: names that it may have.

    Raises:
        ParamsError: another form, an unknown name or one too few.
    """
    values: dict[str, int] = {}
    for word in text.split():
        name, equals, number = word.partition("=")
        if not equals or not number.removeprefix("-").isdecimal() or len(number) > 18:
            raise ParamsError(f"'{word}' is not name=number")
        if name in values:
            raise ParamsError(f"'{name}' is given twice")
        if name not in required and name not in optional:
            raise ParamsError(f"no parameter is called '{name}'")
        values[name] = int(number)
    missing = [name for name in required if name not in values]
    if missing:
        raise ParamsError(f"'{missing[0]}' is missing")
    return values


def require_none(reason: str) -> None:
    """Raise ParamsError with a reason why an operation cannot be computed, if there is one."""
    if reason:
        raise ParamsError(reason)


def require_range(name: str, value: int, low: int, high: int) -> None:
    """Raise ParamsError unless ``low <= value <= high``."""
    if not low <= value <= high:
        raise ParamsError(f"{name}={value} is not in {low}..{high}")
