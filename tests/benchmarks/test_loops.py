"""What the loops of compiled kernels are made of."""

import pytest
from benchmarks.guest_program import Instruction
from benchmarks.loops import Loop

WIDENED = ("smull v1.8h, v2.8b, v3.8b", "smlal2 v1.8h, v2.16b, v3.16b", "sadalp v4.4s, v1.8h")
BOUNDS = ("smax v4.4s, v4.4s, v5.4s", "str q4, [x0]")
NARROWED = ("fmul v4.4s, v4.4s, v6.4s", "uzp1 v4.8h, v4.8h, v7.8h", "sqxtn v4.8b, v4.8h")
BESIDE = ("ldr q2, [x1]", "str q7, [sp, #16]", "add x0, x0, #16", "b.ne #4")


def loop_of(*lines):
    parts = [line.split(" ", 1) for line in lines]
    return Loop("f", tuple(Instruction(4 * n, *part, 1) for n, part in enumerate(parts)))


@pytest.mark.parametrize(
    ("lines", "more"), [(WIDENED, 0), ((*WIDENED, *BOUNDS), 2), ((*WIDENED, *BESIDE), 0)]
)
def test_arithmetic_has_each_multiply_once(lines, more):
    loop = loop_of(*lines)
    assert [i.mnemonic for i in loop.multiplies] == ["smull", "smlal2", "sadalp"]
    for order in loop.arithmetic:
        assert len(order) == len(set(order)) == len(WIDENED) + more


def test_the_shortest_requantization_stands_for_any():
    loop = loop_of(*WIDENED, *NARROWED)
    order, spread = loop.arithmetic
    wanted = ["fmla", "fmla", "fadd", "fadd", "uzp1", "sqxtn"]
    assert sorted(i.mnemonic for i in order[len(WIDENED) :]) == sorted(wanted)
    assert sorted(order, key=str) == sorted(spread, key=str)
    assert loop.finishes is False
    assert loop_of(*BOUNDS).finishes
