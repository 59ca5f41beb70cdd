"""Bodies in one list: what is copied, and what is written where it belongs at once."""

import onnx.parser
import pytest
from helpers.branching import HEAD

from edgecomp.device.load import load_target
from edgecomp.frontend.load import load_model
from edgecomp.lower.flatten import flatten
from edgecomp.lower.fuse import fuse
from edgecomp.lower.layout import assign_layout
from edgecomp.lower.read import read_program
from edgecomp.plan.plan import RegionKind


def flat(text):
    model = load_model(onnx.parser.parse_model(HEAD + text))
    program, refusals = read_program(model, load_target("host"), "m")
    assert not refusals
    fuse(program)
    assign_layout(program)
    regions = flatten(program)
    return [type(operation.kind).__name__ for operation in program.operations], regions


def test_branches_write_into_the_result():
    kinds, regions = flat(
        """g (bool c, float[4] x) => (float[4] y) {
            y = If (c) <
              then_branch = t () => (float[4] a) { a = Relu(x) },
              else_branch = e () => (float[4] b) { b = Identity(x) }
            >
        }"""
    )
    assert [kind for kind in kinds if kind != "Reinterpret"] == ["Elementwise", "StridedCopy"]
    assert [(r.kind, r.first, r.expected) for r in regions] == [
        (RegionKind.BRANCH, 0, True),
        (RegionKind.BRANCH, 1, False),
    ]


@pytest.mark.parametrize(
    ("body", "copies"),
    [
        ("t = Exp(v) v2 = Softmax(t)", 0),  # v is not needed any more
        ("t = Softmax(v) v2 = Mul(t, v)", 1),  # v is read while the next one is written
        ("v2 = Identity(v)", None),  # nothing changes
    ],
)
def test_what_is_carried_is_copied_only_where_it_has_to_be(body, copies):
    kinds, regions = flat(
        f"""g (int64 n, float[4] x) => (float[4] y) <bool yes = {{1}}> {{
            y = Loop (n, yes, x) <
              body = b (int64 i, bool ci, float[4] v) => (bool co, float[4] v2) {{
                co = Identity(ci)
                {body}
              }}
            >
        }}"""
    )
    if copies is None:
        assert not regions
        return
    (loop,) = regions
    assert loop.kind is RegionKind.LOOP
    assert loop.condition is None
    assert kinds[: loop.first] == ["StridedCopy"]
    assert kinds[loop.first : loop.end].count("StridedCopy") == copies
