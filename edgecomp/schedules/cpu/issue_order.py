"""Order of instructions for cores that issue them in order: list scheduling of one block.

Registers are chosen already. The model is LLVM's of Cortex-A55: two instructions a cycle, one
load, one store, one of the vector instructions that are no multiply-adds, which has to come first
in its cycle. Results of all but multiply-adds are written in the order of the instructions: one
that takes fewer cycles than another does not start beside it.
"""

import dataclasses
from collections.abc import Sequence

_ISSUE_WIDTH = 2


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        text: assembly.
        writes, reads: registers.
        unit: of which the core has one; "" where it has as many as it can issue.
        cycles: until its results can be used.
    """

    text: str
    writes: tuple[str, ...]
    reads: tuple[str, ...]
    unit: str = ""
    cycles: int = 4


def in_issue_order(block: Sequence[Instruction]) -> list[str]:
    """The block's instructions, reordered so that few wait; the meaning stays."""
    followers = _followers(block)
    waits = [0] * len(block)
    for after in followers:
        for later in after:
            waits[later] += 1
    heights = [0] * len(block)
    for n in reversed(range(len(block))):
        paths = (cycles + heights[later] for later, cycles in followers[n].items())
        heights[n] = max(paths, default=block[n].cycles)
    earliest = [0] * len(block)
    ready = [n for n in range(len(block)) if waits[n] == 0]
    order: list[str] = []
    cycle = written = 0
    while len(order) < len(block):
        units: list[str] = []
        together: list[int] = []
        while len(units) < _ISSUE_WIDTH:
            can = [
                n
                for n in ready
                if earliest[n] <= cycle
                and _is_free(block[n].unit, units)
                and (not _in_order(block[n]) or cycle + block[n].cycles >= written)
            ]
            if not can:
                break
            # Beside an instruction goes one of another kind, so that none is left for the end.
            n = max(can, key=lambda n: (block[n].unit not in units, heights[n], -n))
            ready.remove(n)
            # What takes both pipes of the vector unit has to be the first of a cycle.
            leads = block[n].unit == "alu" and not any(n in followers[m] for m in together)
            together.insert(0 if leads else len(together), n)
            units.append(block[n].unit)
            if _in_order(block[n]):
                written = max(written, cycle + block[n].cycles)
            for later, cycles in followers[n].items():
                earliest[later] = max(earliest[later], cycle + cycles)
                waits[later] -= 1
                if waits[later] == 0:
                    ready.append(later)
        order += [block[n].text for n in together]
        cycle += 1
    return order


def _in_order(instruction: Instruction) -> bool:
    """Whether its results come behind those of the instructions before it: not multiply-adds."""
    return bool(instruction.writes) and instruction.unit != ""


def _is_free(unit: str, taken: Sequence[str]) -> bool:
    return not unit or unit not in taken


def _followers(block: Sequence[Instruction]) -> list[dict[int, int]]:
    """Per instruction, those that must come behind it -> by how many cycles."""
    found: list[dict[int, int]] = [{} for _ in block]
    writer: dict[str, int] = {}
    readers: dict[str, list[int]] = {}

    def follow(before: int, n: int, cycles: int) -> None:
        if before != n:
            found[before][n] = max(cycles, found[before].get(n, 0))

    for n, instruction in enumerate(block):
        for register in instruction.reads:
            if register in writer:
                follow(writer[register], n, block[writer[register]].cycles)
            readers.setdefault(register, []).append(n)
        for register in instruction.writes:
            if register in writer:
                follow(writer[register], n, 1)
            for reader in readers.pop(register, []):
                follow(reader, n, 0)
            writer[register] = n
    return found
