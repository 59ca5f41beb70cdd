"""Work in parts that fit into memory."""

from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


def in_parts(
    items: Iterable[Item], bytes_of: Callable[[Item], int], most_bytes: int
) -> list[list[Item]]:
    """Items in their order, in groups of at most so many bytes; a larger item is alone."""
    parts: list[list[Item]] = []
    used = 0
    for item in items:
        size = bytes_of(item)
        if not parts or used + size > most_bytes:
            parts.append([])
            used = 0
        parts[-1].append(item)
        used += size
    return parts
