"""What the readers of the processor's features return."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class HostFacts:
    """Features of this processor.

    Attributes:
        processor: its name for people, or "".
        tvm: target dictionary for ``tvm.target.Target``.
        features, vector_bits, vector_registers, unit_bits, adders_apart, in_order: as in
            ``Core``.
    """

    processor: str
    tvm: dict[str, Any]
    features: frozenset[str]
    vector_bits: int
    vector_registers: int
    unit_bits: int | None = None
    adders_apart: bool = False
    in_order: bool = False


def read_blocks(text: str) -> list[dict[str, str]]:
    """``/proc/cpuinfo`` as one dictionary per paragraph, in general one per processor."""
    blocks: list[dict[str, str]] = []
    for paragraph in text.strip().split("\n\n"):
        block = {}
        for line in paragraph.splitlines():
            key, colon, value = line.partition(":")
            if colon:
                block[key.strip()] = value.strip()
        if block:
            blocks.append(block)
    return blocks


def common_words(blocks: list[dict[str, str]], key: str) -> frozenset[str]:
    """The words that every block with ``key`` has: a thread may run on any processor."""
    found = [frozenset(block[key].split()) for block in blocks if key in block]
    return frozenset.intersection(*found) if found else frozenset()
