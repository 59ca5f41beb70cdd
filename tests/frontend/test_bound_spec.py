"""Bounds of dimensions that the data decides, as a user writes them."""

import pytest

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.bound_spec import parse_bound_specs, require_used
from edgecomp.graph.counts import Counted


def test_forms():
    found = parse_bound_specs(["boxes_0:[0..100]", "a:b_1:[3..3]"])
    assert found == {"boxes_0": (0, 100), "a:b_1": (3, 3)}


@pytest.mark.parametrize(
    "text",
    [
        "boxes",
        "boxes:100",
        "boxes:[1..]",
        ":[0..1]",
        "b:[5..4]",
        "b:[0..0]",
        f"b:[0..{2**31}]",
    ],
)
def test_no_form(text):
    with pytest.raises(EdgecompError) as caught:
        parse_bound_specs([text])
    assert caught.value.code is Code.USAGE
    assert text in caught.value.cause
    assert "name:[0..100]" in caught.value.hint


def test_given_twice():
    with pytest.raises(EdgecompError, match="given twice"):
        parse_bound_specs(["b:[0..1]", "b:[0..2]"])


def test_unknown_dimension():
    require_used({}, [])
    require_used({"b_0": (0, 1)}, [Counted("b_0", 0, 9)])
    with pytest.raises(EdgecompError, match="--bound b_1") as caught:
        require_used({"b_1": (0, 1)}, [Counted("b_0", 0, 9)])
    assert "b_0" in caught.value.hint
    with pytest.raises(EdgecompError, match="--bound b_1") as caught:
        require_used({"b_1": (0, 1)}, [])
    assert caught.value.hint == "leave the option out"
