"""Reordered instructions compute what the given order does."""

from hypothesis import given
from hypothesis import strategies as st

from edgecomp.schedules.cpu.issue_order import Instruction, in_issue_order

REGISTERS = tuple("abcdef")

instructions = st.builds(
    lambda write, reads, unit, cycles: (write, tuple(reads), unit, cycles),
    st.sampled_from(REGISTERS),
    st.lists(st.sampled_from(REGISTERS), max_size=3),
    st.sampled_from(["", "load", "store", "alu"]),
    st.integers(1, 5),
)


def outcome(block):
    """What every register holds at the end: the history of how it was made."""
    values = {register: register for register in REGISTERS}
    for name, write, reads in block:
        values[write] = hash((name, *(values[register] for register in reads)))
    return values


@given(st.lists(instructions, max_size=24))
def test_meaning_stays(found):
    block = [
        Instruction(str(n), (write,), reads, unit, cycles)
        for n, (write, reads, unit, cycles) in enumerate(found)
    ]
    order = [int(text) for text in in_issue_order(block)]
    assert sorted(order) == list(range(len(block)))
    given_order = [(n, found[n][0], found[n][1]) for n in range(len(block))]
    assert outcome(given_order[n] for n in order) == outcome(given_order)


def test_loads_go_ahead_of_what_waits_for_them():
    block = [
        Instruction("load a", ("a",), (), "load", 3),
        Instruction("use a", ("d",), ("a",)),
        Instruction("load b", ("b",), (), "load", 3),
        Instruction("use b", ("e",), ("b",)),
    ]
    assert in_issue_order(block) == ["load a", "load b", "use a", "use b"]


def test_one_instruction_of_a_unit_a_cycle():
    block = [
        Instruction("load a", ("a",), (), "load", 1),
        Instruction("load b", ("b",), (), "load", 1),
        Instruction("free", ("c",), (), "", 1),
    ]
    assert in_issue_order(block) == ["load a", "free", "load b"]


def test_results_come_in_order_but_those_of_multiply_adds():
    block = [
        Instruction("maximum", ("a",), (), "alu", 4),
        Instruction("load", ("b",), (), "load", 3),
        Instruction("multiply", ("c",), ()),
    ]
    assert in_issue_order(block) == ["maximum", "multiply", "load"]


def test_what_takes_the_whole_vector_unit_leads_its_cycle():
    block = [
        Instruction("load", ("a",), (), "load", 4),
        Instruction("use", ("c",), ("a",)),
        Instruction("maximum", ("b",), (), "alu", 4),
    ]
    assert in_issue_order(block) == ["maximum", "load", "use"]
