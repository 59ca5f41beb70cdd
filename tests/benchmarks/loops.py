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
_FLOATS = re.compile(r"fml[as]$")
#: Bounds, and sums of products of fewer bits that are no multiplies above.
_KEPT = re.compile(r"(f|s|u)(max|min)(nm)?$|[su]addw2?$")
#: The last step of a requantization.
_NARROWS = re.compile(r"sqxtu?n2?$")
#: Mnemonic, operands and results of each step of one.
_REQUANTIZE = (
    ("fmla", "v0.4s, v1.4s, v2.4s", 4),
    ("fadd", "v0.4s, v1.4s, v2.4s", 4),
    ("uzp1", "v0.8h, v1.8h, v2.8h", 8),
    ("sqxtn", "v0.8b, v1.8h", 8),
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
        return any(map(_is_store, self.body))

    @property
    def multiplies(self):
        """Its instructions that multiply what the operator multiplies."""
        return multiplies_of(self.body)

    @property
    def arithmetic(self):
        """What the operator demands of it, whatever way the kernel goes: multiplies and the rest.

        In two orders, of which a core in order likes one: kind behind kind, and evenly mixed.

        The rest is bounds, widening sums and stores as they stand in the loop, and where bytes
        are made of sums of integers the shortest requantization there is: per four results a
        multiply-add and a sum that rounds, per eight two steps of narrowing. Not in it are loads,
        copies, the order of lanes, addresses and branches.
        """
        rest = [i for i in self.body if _KEPT.match(i.mnemonic) or _is_store(i)]
        narrowed = sum(8 for i in self.body if _NARROWS.match(i.mnemonic))
        for mnemonic, operands, results in _REQUANTIZE:
            rest += [Instruction(0, mnemonic, operands, 0)] * (narrowed // results)
        return [*self.multiplies, *rest], list(_spread(self.multiplies, rest))


def multiplies_of(instructions):
    """Those that multiply vectors: of integers where there are some, else of floats.

    What scales sums of integers is none of them.
    """
    found = [i for i in instructions if is_multiply(i)]
    return [i for i in found if not _FLOATS.match(i.mnemonic)] or found


def is_multiply(instruction):
    """Whether an instruction multiplies vectors (not the integers of an address)."""
    vector = re.match(r"v\d+\.", instruction.operands)
    return bool(vector and _MULTIPLIES.match(instruction.mnemonic))


def _is_store(instruction):
    """Whether it stores vectors anywhere but on the stack."""
    is_store = re.match(r"st[rpu1-4]", instruction.mnemonic)
    vector = re.match(r"[qdsv{]", instruction.operands)
    return bool(is_store and vector and "[sp" not in instruction.operands)


def _spread(many, few):
    """Both lists in one, evenly mixed: a core in order starts different kinds together."""
    places = [((n + 0.5) / len(part), i) for part in (many, few) for n, i in enumerate(part)]
    return (instruction for _, instruction in sorted(places, key=lambda place: place[0]))


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
        Per region (cycles, cycles that issue and units alone would take). The latter is not
        llvm-mca's BlockRThroughput, which does not see that what only one of two units can do
        leaves less of it for what both can.
    """
    number_of = {tuple(region): number for number, region in enumerate(regions)}
    lines = []
    for region, number in number_of.items():
        lines += [f"# LLVM-MCA-BEGIN r{number}", *region, f"# LLVM-MCA-END r{number}"]
    command = [llvm_mca, "-mtriple=aarch64", f"-mcpu={core}", "-mattr=+all", "--json"]
    command += [f"-iterations={ITERATIONS}", "-skip-unsupported-instructions=lack-sched"]
    text = subprocess.run(
        command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=True
    ).stdout
    views = {r["Name"]: r for r in json.loads(text)["CodeRegions"]}
    found = {number: _cycles_and_bound(views[f"r{number}"]) for number in number_of.values()}
    return [found[number_of[tuple(region)]] for region in regions]


def _cycles_and_bound(view):
    summary, entries = view["SummaryView"], view["ResourcePressureView"]
    # Behind those of its instructions comes the whole of it.
    whole = len(view["Instructions"])
    units = [
        entry["ResourceUsage"]
        for entry in entries["ResourcePressureInfo"]
        if entry["InstructionIndex"] == whole
    ]
    issue = summary["TotaluOps"] / ITERATIONS / summary["DispatchWidth"]
    return summary["TotalCycles"] / ITERATIONS, max([issue, *units])


def assembly_of(loop):
    """Its instructions as an assembler reads them; branches without a place to go."""
    return [
        f"{i.mnemonic} {re.sub(r'0x[0-9a-f]+( <.*>)?$', '#4', i.operands)}"
        if i.target is not None
        else f"{i.mnemonic} {i.operands}"
        for i in loop.body
    ]


def cycles_alone(groups, core, llvm_mca):
    """Cycles that the core's model takes for instructions that wait for nothing.

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
    read = [
        re.sub(r"^v\d+", f"v{register}", r)
        for register, r in zip((30, 15), rest, strict=False)
    ]
    return f"{instruction.mnemonic} {', '.join([first, *read, *rest[len(read) :]])}"
