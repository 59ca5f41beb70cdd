"""The loop's instructions, carried out by a small interpreter, against numpy."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecomp.schedules.cpu.widened_loop import WidenedLoop, fits, products_of

TILES = [(r, v) for r in range(1, 9) for v in range(1, 9) if fits(r, v)]
SIZES = {"s": 4, "d": 8, "q": 16}


class Machine:
    """Registers and memory of what the loop uses; every access is checked."""

    def __init__(self, loop, x, weights, sums):
        self.memory = {"x": x, "w": weights}
        self.vectors = {}
        self.sums = sums
        count, bases = loop.rows * loop.vectors, len(loop.bases)
        self.pointers = {count + n: ("x", loop.shifts[b]) for n, b in enumerate(loop.bases)}
        self.pointers[count + bases] = ("w", 0)
        self.indices = 2 * (count + bases + 1) + 1
        self.count = None

    def run(self, lines):
        at = 0
        while at < len(lines):
            again = self.step(lines[at])
            at = lines.index("1:") if again else at + 1

    def load(self, register, size, pointer, offset):
        memory, at = self.pointers[int(pointer)]
        at += offset
        assert 0 <= at <= len(self.memory[memory]) - size
        value = np.zeros(16, np.int8)
        value[:size] = self.memory[memory][at : at + size]
        self.vectors[int(register)] = value

    def widened(self, name):
        """Eight bytes of a register; the upper ones of ``16b``."""
        register, arrangement = name[1:].split(".")
        half = self.vectors[int(register)][8:] if arrangement == "16b" else None
        return (self.vectors[int(register)][:8] if half is None else half).astype(np.int16)

    def step(self, line):
        """Carry out one instruction; whether to go back to the loop's start."""
        name, _, rest = line.partition(" ")
        operands = re.split(r", (?![^\[]*\])", rest)
        if name == "tbl":
            table, index = self.vectors[int(operands[1][2:-5])], operands[2]
            group = int(index[1:-4]) - self.indices
            assert 0 <= group < 4
            pairs = table[4 * group : 4 * group + 4]
            copied = np.concatenate([np.tile(pairs[:2], 4), np.tile(pairs[2:], 4)])
            self.vectors[int(operands[0][1:-4])] = copied
        elif name in ("smull", "smlal2"):
            product = self.widened(operands[1]) * self.widened(operands[2])
            register = int(operands[0][1:-3])
            assert operands[1].endswith(".8b" if name == "smull" else ".16b")
            self.vectors[register] = product + (
                0 if name == "smull" else self.vectors[register]
            )
        elif name == "sadalp":
            product = self.vectors[int(operands[1][1:-3])].astype(np.int32)
            self.sums[int(operands[0][1:-3])] += product.reshape(4, 2).sum(axis=1)
        elif name in ("ldr", "ldur", "ldp"):
            *registers, address = operands
            pointer, offset = re.fullmatch(r"\[\$(\d+), #(-?\d+)\]", address).groups()
            for n, register in enumerate(registers):
                size = SIZES[register[0]]
                self.load(register[1:], size, pointer, int(offset) + n * size)
            limit = {"ldr": 4095 * size, "ldur": 255, "ldp": 1008}[name]
            assert -256 <= int(offset) <= limit
            assert name == "ldur" or int(offset) % size == 0
        elif name == "add":
            pointer, same, number = operands
            assert pointer == same
            memory, at = self.pointers[int(pointer[1:])]
            self.pointers[int(pointer[1:])] = memory, at + int(number[1:])
        elif name == "mov":
            self.count = int(operands[1][1:])
        elif name == "subs":
            self.count -= 1
        elif name == "b.ne":
            return self.count > 0
        else:
            assert line == "1:"
        return False


def check(rows, vectors, length, stride):
    """One loop on random numbers; rows of x are ``stride`` bytes apart."""
    loop = WidenedLoop(rows, vectors, length, tuple(stride * row for row in range(rows)))
    rng = np.random.default_rng(length)
    x = rng.integers(-128, 128, stride * (rows - 1) + 4 * length).astype(np.int8)
    weights = rng.integers(-127, 128, (length, vectors, 4, 4)).astype(np.int8)
    sums = rng.integers(-8, 8, (rows, vectors, 4)).astype(np.int32)
    packed = weights.reshape(length, vectors, 4, 2, 2).transpose(0, 1, 3, 2, 4).reshape(-1)
    machine = Machine(loop, x, packed, sums.reshape(-1, 4).copy())
    machine.run(loop.assembly())
    image = np.stack([x[r * stride : r * stride + 4 * length] for r in range(rows)])
    image = image.reshape(rows, length, 4).astype(np.int32)
    expected = sums + np.einsum("rgi,gvci->rvc", image, weights.astype(np.int32))
    np.testing.assert_array_equal(machine.sums.reshape(expected.shape), expected)


@pytest.mark.parametrize("tile", [(4, 3), (3, 4), (1, 6), (2, 1), (1, 1), (5, 3)])
def test_every_length_of_common_tiles(tile):
    for length in (*range(1, 26), 36, 41):
        check(*tile, length, 4 * length)


@settings(max_examples=40)
@given(st.sampled_from(TILES), st.integers(1, 100), st.integers(0, 2000))
def test_any_tile_length_and_stride(tile, length, more):
    check(*tile, length, 4 * length + more)


def test_products_come_round():
    for rows, vectors in TILES:
        assert 4 * rows * vectors % products_of(rows, vectors) == 0
