"""Loads of the loops in lane_loop.py and widened_loop.py: sizes, forms and how far they reach.

An element of K is 32 bits here: a float32, or four bytes.
"""

import itertools
from collections.abc import Iterator, Sequence

VECTOR_BYTES = 16
#: Elements of K in a register of x.
GROUP = 4
#: Greatest offsets that a load can have: a multiple of its size, or any number.
_SCALED_LIMIT = 4095
_UNSCALED_LIMIT = 255


def groups(length: int) -> Iterator[int]:
    """Elements of K that loads of x bring: fours, then what is left, in powers of two."""
    yield from [GROUP] * (length // GROUP)
    yield from (size for size in (2, 1) if length % GROUP & size)


def load(register: str, pointer: str, offset: int, size: int) -> str:
    """A load of ``size`` bytes in the form that its offset needs."""
    name = "ldr" if _scaled(offset, size) else "ldur"
    return f"{name} {register}, [{pointer}, #{offset}]"


def bases(shifts: Sequence[int], lengths: Sequence[int]) -> tuple[int, ...]:
    """Rows with a pointer of their own: the first, and those that no offset reaches from it.

    Args:
        shifts: bytes of x from the first row to each row.
        lengths: elements of K that are loaded before the pointers step.
    """
    rows = range(1, len(shifts))
    return (0, *(r for r in rows if not all(_reaches(shifts[r], n) for n in lengths)))


def _reaches(shift: int, length: int) -> bool:
    """Whether every load of ``length`` elements of K can have its offset from the first row."""
    sizes = list(groups(length))
    starts = itertools.accumulate(sizes, initial=0)
    return all(
        _encodable(shift + 4 * k, 4 * size) for k, size in zip(starts, sizes, strict=False)
    )


def _encodable(offset: int, size: int) -> bool:
    return _scaled(offset, size) or -_UNSCALED_LIMIT - 1 <= offset <= _UNSCALED_LIMIT


def _scaled(offset: int, size: int) -> bool:
    return offset % size == 0 and 0 <= offset <= _SCALED_LIMIT * size
