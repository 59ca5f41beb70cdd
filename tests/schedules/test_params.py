"""Parameters as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.schedules.params import ParamsError, params_text, read_params

NAMES = st.sampled_from(["rows", "vectors", "axis", "height"])


@given(st.dictionaries(NAMES, st.integers(-(10**17), 10**17)))
def test_values_come_back(values):
    assert read_params(params_text(values), tuple(values)) == values


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rows", "not name=number"),
        ("rows=", "not name=number"),
        ("rows=2x", "not name=number"),
        ("rows=--2", "not name=number"),
        ("rows=" + "9" * 5000, "not name=number"),
        ("rows=1 rows=2", "given twice"),
        ("rows=1 columns=2", "no parameter is called 'columns'"),
        ("", "'rows' is missing"),
    ],
)
def test_refusals(text, words):
    with pytest.raises(ParamsError, match=words):
        read_params(text, ("rows",), ("axis",))


def test_optional_names_may_be_left_out():
    assert read_params("rows=1", ("rows",), ("axis",)) == {"rows": 1}
    assert read_params("axis=0 rows=1", ("rows",), ("axis",)) == {"rows": 1, "axis": 0}
