"""The loops' instructions, carried out by a small interpreter, against numpy.

Four bytes that ``sdot`` multiplies at once are one number here: the tests of convolutions run it.
"""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecomp.schedules.cpu.lane_loop import FMLA, SDOT, LaneLoop
from edgecomp.schedules.cpu.lane_plan import VECTOR_REGISTERS, dot_plan_for, plan_for


class Machine:
    """Registers and memory of what the loops use; every access is checked."""

    def __init__(self, loop, x, weights, sums):
        self.memory = {"x": x, "w": weights}
        self.vectors = {n: np.full(4, np.nan) for n in range(VECTOR_REGISTERS)}
        self.sums = sums
        first = loop.rows * loop.vectors
        self.pointers = {
            first + n: ("x", loop.shifts[base]) for n, base in enumerate(loop.bases)
        }
        self.pointers[first + len(loop.bases)] = ("w", 0)
        self.counter = first + len(loop.bases) + 1
        self.count = None

    def read(self, operand, offset, count):
        memory, at = self.pointers[int(operand)]
        at += offset
        assert at % 4 == 0
        assert at >= 0
        assert at + 4 * count <= 4 * len(self.memory[memory])
        return self.memory[memory][at // 4 : at // 4 + count]

    def run(self, lines):
        at = 0
        while at < len(lines):
            again = self.step(lines[at])
            at = lines.index("1:") if again else at + 1

    def step(self, line):
        """Carry out one instruction; whether to go back to the loop's start."""
        if found := re.fullmatch(
            r"(?:fmla|sdot) \$(\d+)\.4s, v(\d+)\.(?:4s|16b), v(\d+)\.(?:s|4b)\[(\d)\]", line
        ):
            total, weight, x, lane = map(int, found.groups())
            self.sums[total] += self.vectors[weight] * self.vectors[x][lane]
        elif found := re.fullmatch(r"(ldr|ldur) ([sdq])(\d+), \[\$(\d+), #(-?\d+)\]", line):
            name, size, register, pointer, offset = found.groups()
            count, offset = {"s": 1, "d": 2, "q": 4}[size], int(offset)
            fits = 0 <= offset <= 4095 * 4 * count and offset % (4 * count) == 0
            assert fits if name == "ldr" else -256 <= offset <= 255
            value = self.read(pointer, offset, count)
            self.vectors[int(register)] = np.pad(value, (0, 4 - count), constant_values=np.nan)
        elif found := re.fullmatch(r"ld1 \{(.*)\}, \[\$(\d+)\], #(\d+)", line):
            names, pointer, size = found.groups()
            registers = [int(n) for n in re.findall(r"v(\d+)\.4s", names)]
            assert registers == list(range(registers[0], registers[0] + len(registers)))
            assert int(size) == 16 * len(registers)
            for n, register in enumerate(registers):
                self.vectors[register] = self.read(pointer, 16 * n, 4)
            self.add(int(pointer), int(size))
        elif found := re.fullmatch(r"add \$(\d+), \$\1, #(\d+)", line):
            assert int(found[2]) < 4096
            self.add(int(found[1]), int(found[2]))
        elif line.startswith("mov"):
            self.count = int(line.split("#")[1])
        elif line.startswith("subs"):
            self.count -= 1
        elif line == "b.ne 1b":
            return self.count > 0
        else:
            assert line == "1:"
        return False

    def add(self, pointer, size):
        memory, at = self.pointers[pointer]
        self.pointers[pointer] = memory, at + size


TILES = [
    (rows, vectors, in_order)
    for rows in range(1, 16)
    for vectors in range(1, 9)
    for in_order in (False, True)
    if plan_for(rows, vectors, in_order=in_order)
]


DOT_TILES = [
    (rows, vectors)
    for rows in range(1, 16)
    for vectors in range(1, 9)
    if dot_plan_for(rows, vectors)
]


def check(rows, vectors, length, stride, plan, multiply=FMLA):
    """One loop on random numbers; rows of x are ``stride`` elements apart."""
    shifts = tuple(4 * stride * row for row in range(rows))
    loop = LaneLoop(rows, vectors, length, shifts, plan, multiply)
    rng = np.random.default_rng(length)
    x = rng.integers(-8, 8, stride * (rows - 1) + length).astype(float)
    weights = rng.integers(-8, 8, (length, vectors, 4)).astype(float)
    sums = rng.integers(-8, 8, (rows, vectors, 4)).astype(float)
    machine = Machine(loop, x, weights.reshape(-1), sums.reshape(-1, 4).copy())
    machine.run(loop.assembly())
    image = np.stack([x[row * stride : row * stride + length] for row in range(rows)])
    expected = sums + np.einsum("rk,kvl->rvl", image, weights)
    np.testing.assert_array_equal(machine.sums.reshape(expected.shape), expected)


@pytest.mark.parametrize("in_order", [False, True])
def test_every_length_of_common_tiles(in_order):
    for rows, vectors in ((6, 3), (4, 6), (7, 2), (1, 8)):
        for length in (*range(1, 34), 61, 62, 63):
            check(rows, vectors, length, length, plan_for(rows, vectors, in_order=in_order))


@settings(max_examples=60)
@given(st.sampled_from(TILES), st.integers(1, 320), st.integers(0, 4000))
def test_any_tile_length_and_stride(tile, length, more):
    rows, vectors, in_order = tile
    plan = plan_for(rows, vectors, in_order=in_order)
    check(rows, vectors, length, length + more, plan)


@settings(max_examples=40)
@given(st.sampled_from(DOT_TILES), st.integers(1, 320), st.integers(0, 4000))
def test_dot_products_of_any_length_and_stride(tile, length, more):
    check(*tile, length, length + more, dot_plan_for(*tile), SDOT)
