import pytest
from helpers.programs import program_of

from edgecomp.lower.fuse import fuse
from edgecomp.plan.elementwise import Elementwise
from edgecomp.plan.reductions import Reduce

HEAD = '<ir_version: 10, opset_import: ["" : 21]>'


def fused(body):
    program = program_of(
        HEAD
        + f"""g (float[2,5,7] x, float[2,5,7] w) => (float[2,5,1] y)
        <int64[1] axes = {{-1}}, float two = {{2.0}}, float three = {{3.0}}> {{{body}}}"""
    )
    fuse(program)
    return program.operations


@pytest.mark.parametrize("square", ["Mul(x, x)", "Pow(x, two)"])
@pytest.mark.parametrize(
    ("operator", "expected"),
    [("ReduceMean", "ReduceMeanSquare"), ("ReduceSum", "ReduceSumSquare")],
)
def test_squares_are_not_stored(square, operator, expected):
    (operation,) = fused(f"s = {square} y = {operator}(s, axes)")
    assert operation.kind == Reduce(operator=expected, axes=(2,))
    assert [value.name for value in operation.inputs] == ["x"]
    assert len(operation.nodes) == 2


@pytest.mark.parametrize(
    "body",
    [
        "s = Mul(x, w) y = ReduceMean(s, axes)",
        "s = Pow(x, three) y = ReduceMean(s, axes)",
        "s = Mul(x, x) y = ReduceMax(s, axes)",
        "s = Mul(x, x) m = ReduceMean(s, axes) z = ReduceMax(s, axes) y = Add(m, z)",
    ],
)
def test_others_are(body):
    operations = fused(body)
    assert isinstance(operations[0].kind, Elementwise)
    assert all(not o.kind.operator.endswith("Square") for o in operations[1:2])
