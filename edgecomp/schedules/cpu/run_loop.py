"""Runs of K in inline assembly: what lane_loop.py and widened_loop.py have in common."""

from collections.abc import Sequence
from typing import Protocol

from edgecomp.schedules.builder import KernelBuilder, pointer_to
from edgecomp.schedules.cpu.arithmetic import Operands, RegisterTile
from edgecomp.schedules.cpu.lane_plan import VECTOR_REGISTERS
from edgecomp.schedules.cpu.llvm_text import llvm_function


class RunLoop(Protocol):
    """A function for one run of K of one tile."""

    @property
    def name(self) -> str:
        """Of the function: the same for the same code."""

    @property
    def bases(self) -> tuple[int, ...]:
        """Rows with a pointer of their own."""

    def llvm(self) -> str:
        """LLVM's text of the function: pointers to the sums of each row, to x, to weights."""


def call_run_loop(
    builder: KernelBuilder, loop: RunLoop, tile: RegisterTile, operands: Operands
) -> None:
    """Emit a call of the loop."""
    builder.call_llvm(
        loop.name,
        loop.llvm(),
        *(pointer_to(sums, 0) for sums in tile.sums),
        *(pointer_to(operands.x, operands.x_rows[row]) for row in loop.bases),
        pointer_to(operands.weights, operands.weight_index),
    )


def run_function(
    loop: RunLoop,
    assembly: Sequence[str],
    tile: tuple[int, int],
    kind: str,
    first_register: int,
    constants: Sequence[str] = (),
) -> str:
    """LLVM's text of a loop's function.

    Operands of the assembly are the sums row by row, the pointers to x and to weights, which it
    moves, a counter, the sums and pointers again, then the constants.

    Args:
        loop: gives name and bases.
        assembly: instructions.
        tile: rows and vectors.
        kind: LLVM's type of a register of sums.
        first_register: of those that the assembly chooses; it may overwrite all from there on.
        constants: with their types, to lie in vector registers.
    """
    rows, vectors = tile
    sums, pointers = rows * vectors, [*(f"x{base}" for base in loop.bases), "weights"]
    lines = []
    for n in range(sums):
        row, vector = divmod(n, vectors)
        lines.append(f"%p{n} = getelementptr {kind}, ptr %sum{row}, i64 {vector}")
        lines.append(f"%a{n} = load {kind}, ptr %p{n}, align 4")
    results = ", ".join([kind] * sums + ["ptr"] * len(pointers) + ["i64"])
    constraints = ["=w"] * sums + ["=r"] * len(pointers) + ["=&r"]
    constraints += map(str, range(sums + len(pointers)))
    constraints += ["w"] * len(constants)
    constraints += (f"~{{v{n}}}" for n in range(first_register, VECTOR_REGISTERS))
    arguments = [f"{kind} %a{n}" for n in range(sums)]
    arguments += [f"ptr %{pointer}" for pointer in pointers]
    text = "\\0A".join(assembly)
    effects = ",".join([*constraints, "~{cc}", "~{memory}"])
    lines.append(
        f'%r = call {{ {results} }} asm sideeffect "{text}", "{effects}"'
        f"({', '.join([*arguments, *constants])})"
    )
    for n in range(sums):
        lines.append(f"%b{n} = extractvalue {{ {results} }} %r, {n}")
        lines.append(f"store {kind} %b{n}, ptr %p{n}, align 4")
    parameters = [*(f"sum{row}" for row in range(rows)), *pointers]
    header = ", ".join(f"ptr %{parameter}" for parameter in parameters)
    return llvm_function(loop.name, header, lines)
