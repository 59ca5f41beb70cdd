"""Innermost loops of compiled kernels, and what llvm-mca's models of cores make of them.

Modelled cycles assume that every load hits the level-1 cache and that the loop runs for ever.
They are no measurement.
"""

import dataclasses
import itertools
import json
import re
import subprocess

from benchmarks.code_shape import innermost
from benchmarks.guest_program import Instruction

ITERATIONS = 100
#: Multiply-adds of matrix and depthwise products.
_MULTIPLIES = re.compile(
    r"^(fmla|fmls|[su]dot|usdot|[su]mmla|usmmla|smlal2?|smull2?|sadalp|mla|mul)$"
)
#: Registers of the independent copies from which a multiply's own throughput is taken: more than
#: its latency, and none of the two that ``form_of`` reads.
_INDEPENDENT = (*range(15), *range(16, 25))


@dataclasses.dataclass(frozen=True)
class Loop:
    """An innermost loop.

    Attributes:
        symbol: of its function.
        body: first to last instruction, the branch back.
    """

    symbol: str
    body: tuple[Instruction, ...]

    @property
    def iterations(self):
        """How often it ran in one inference."""
        return self.body[-1].count

    @property
    def finishes(self):
        """Whether it stores vectors anywhere but on the stack: K is unrolled inside it."""
        return any(
            re.match(r"st[rpu1-4]", i.mnemonic)
            and re.match(r"[qdsv{]", i.operands)
            and "[sp" not in i.operands
            for i in self.body
        )

    @property
    def multiplies(self):
        """Its instructions that multiply."""
        return [i for i in self.body if is_multiply(i)]


def is_multiply(instruction):
    """Whether an instruction multiplies vectors (not the integers of an address)."""
    vector = re.match(r"v\d+\.", instruction.operands)
    return bool(vector and _MULTIPLIES.match(instruction.mnemonic))


def innermost_loops(symbol, instructions):
    """Loops without a loop inside, by their branches back."""
    places = {instruction.address: n for n, instruction in enumerate(instructions)}
    spans = [
        (places[instruction.target], n)
        for n, instruction in enumerate(instructions)
        if instruction.target in places and places[instruction.target] <= n
    ]
    return [Loop(symbol, tuple(instructions[a : b + 1])) for a, b in innermost(spans)]


def modelled_cycles(regions, core, llvm_mca):
    """llvm-mca's cycles of one iteration of each region.

    Args:
        regions: lists of assembly lines.
        core: as ``-mcpu`` wants it.
        llvm_mca: the program.

    Returns:
        Per region (cycles, cycles that issue and units alone would take).
    """
    lines = []
    for number, region in enumerate(regions):
        lines += [f"# LLVM-MCA-BEGIN r{number}", *region, f"# LLVM-MCA-END r{number}"]
    command = [llvm_mca, "-mtriple=aarch64", f"-mcpu={core}", "-mattr=+all", "--json"]
    command += [f"-iterations={ITERATIONS}", "-skip-unsupported-instructions=lack-sched"]
    text = subprocess.run(
        command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=True
    ).stdout
    views = {r["Name"]: r["SummaryView"] for r in json.loads(text)["CodeRegions"]}
    ordered = [views[f"r{number}"] for number in range(len(regions))]
    return [(v["TotalCycles"] / ITERATIONS, v["BlockRThroughput"]) for v in ordered]


def assembly_of(loop):
    """Its instructions as an assembler reads them; branches without a place to go."""
    return [
        f"{i.mnemonic} {re.sub(r'0x[0-9a-f]+( <.*>)?$', '#4', i.operands)}"
        if i.target is not None
        else f"{i.mnemonic} {i.operands}"
        for i in loop.body
    ]


def multiply_cycles(groups, core, llvm_mca):
    """Cycles that the core's model takes for some multiplies when nothing else is in its way.

    Those of a group run together: kinds that use different units overlap.

    Args:
        groups: lists of instructions.
        core: as ``-mcpu`` wants it.
        llvm_mca: the program.

    Returns:
        Cycles of each group.
    """
    copies = [-(-2 * len(_INDEPENDENT) // len(group)) for group in groups]
    regions = []
    for group, count in zip(groups, copies, strict=True):
        registers = itertools.cycle(_INDEPENDENT)
        forms = [form_of(instruction) for instruction in group] * count
        regions.append([form.replace("vD", f"v{next(registers)}") for form in forms])
    cycles = modelled_cycles(regions, core, llvm_mca) if regions else []
    return [c / count for (c, _), count in zip(cycles, copies, strict=True)]


def form_of(instruction):
    """The instruction with registers that do not depend on each other; vD for the result."""
    first, *rest = re.split(r",\s*(?![^{]*})", instruction.operands)
    first = re.sub(r"^v\d+", "vD", first)
    rest = [
        re.sub(r"^v\d+", f"v{register}", r)
        for register, r in zip((30, 15), rest, strict=False)
    ]
    return f"{instruction.mnemonic} {', '.join([first, *rest])}"
