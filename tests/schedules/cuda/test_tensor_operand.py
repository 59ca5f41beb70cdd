"""How operands of tensor cores are loaded; that threads have what they should is tested with sums."""

import pytest

from edgecomp.plan.sizes import Size, Symbol
from edgecomp.schedules.cuda.tensor_depth import DepthOrder
from edgecomp.schedules.cuda.tensor_operand import Layout
from edgecomp.schedules.cuda.tensor_tile import INSTRUCTIONS

N = Size.of(Symbol("n", 1, 40))


def layout(line, depth, lines=64, apart=()):
    return Layout(line=line, depth=depth, lines=lines, apart=apart)


@pytest.mark.parametrize(
    ("dtype", "found", "words"),
    [
        ("float16", layout(64, 1), 4),
        ("float16", layout(64, 1, apart=(4,)), 2),
        ("float16", layout(34, 1), 1),
        ("float16", layout(33, 1), 0),
        ("float16", layout(33, 1, lines=1), 4),  # there is no second line
        ("float16", layout(N * 8, 1), 4),
        ("float16", layout(N, 1), 0),
        ("uint8", layout(36, 1, apart=(0, 8)), 1),
        ("float32", layout(3, 1), 1),
        ("float16", layout(1, 64), 0),
    ],
)
def test_words(dtype, found, words):
    assert found.words(INSTRUCTIONS[dtype][0]) == words


@pytest.mark.parametrize(
    ("found", "vector"),
    [
        (layout(1, 64), 4),
        (layout(1, 66), 2),
        (layout(1, 65), 1),
        (layout(1, 64, apart=(2,)), 2),
        (layout(1, 64, lines=16), 2),  # of four, half of the fragments would have no column
        (layout(1, 64, lines=8), 1),
        (layout(1, N * 4, lines=N * 4), 4),
        (layout(2, 64), 1),
    ],
)
def test_vectors(found, vector):
    assert found.vector(INSTRUCTIONS["float16"][0]) == vector


@pytest.mark.parametrize("words", [1, 2, 4])
@pytest.mark.parametrize("dtype", INSTRUCTIONS)
def test_threads_have_each_element_of_a_step_once(dtype, words):
    for instruction in INSTRUCTIONS[dtype]:
        order = DepthOrder(instruction, words)
        elements = [
            thread * order.own + offset + element
            for thread in range(instruction.fragments.sharing)
            for offset in order.offsets
            for element in range(instruction.word)
        ]
        assert sorted(elements) == list(range(order.step_elements))
