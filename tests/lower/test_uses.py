"""What nobody reads goes."""

from edgecomp.lower.uses import drop_unread
from edgecomp.plan.elementwise import LookupTable
from edgecomp.plan.movement import Reinterpret
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.values import Value


def value(name):
    return Value(name, (4,), "uint8")


def test_chains_of_one_kind_go_as_far_as_nobody_else_reads_them():
    a, b, c, d, e = map(value, "abcde")
    kept = Operation(Reinterpret(), [a], [b])
    gone = [Operation(Reinterpret(), [b], [c]), Operation(Reinterpret(), [c], [d])]
    table = Operation(LookupTable(None), [b], [e])
    program = Program("p", [kept, gone[0], table, gone[1]], [a], [])
    drop_unread(program, Reinterpret)
    assert program.operations == [kept, table]
    drop_unread(program, LookupTable)
    assert program.operations == [kept]
    drop_unread(program, Reinterpret)
    assert program.operations == []


def test_what_the_user_reads_stays():
    a, b = value("a"), value("b")
    program = Program("p", [Operation(Reinterpret(), [a], [b])], [a], [b])
    drop_unread(program, Reinterpret)
    assert len(program.operations) == 1
