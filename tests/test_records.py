"""Dataclasses from tables: types are exact, unknown keys are named."""

import dataclasses
import pathlib

import hypothesis
import pytest
from hypothesis import strategies as st

from edgecomp.records import RecordError, read_record


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    depth: int
    ratio: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    inner: Inner
    maybe: Inner | None = None
    tags: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    path: pathlib.Path | None = None
    on: bool = False
    notes: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.name == "bad":
            raise ValueError("the name is bad")


def test_every_kind_of_field():
    table = {
        "name": "a",
        "inner": {"depth": 2, "ratio": 3},
        "tags": ["x", "y"],
        "kinds": ["p", "p"],
        "path": "a/b",
        "on": True,
        "notes": {"k": "v"},
    }
    assert read_record(Outer, table) == Outer(
        name="a",
        inner=Inner(depth=2, ratio=3.0),
        tags=("x", "y"),
        kinds=frozenset({"p"}),
        path=pathlib.Path("a/b"),
        on=True,
        notes={"k": "v"},
    )


@pytest.mark.parametrize(
    ("change", "key", "problem"),
    [
        ({"nmae": "x"}, "nmae", "unknown key"),
        ({"inner": {"depth": 1, "dept": 2}}, "inner.dept", "unknown key"),
        ({"inner": {}}, "inner.depth", "missing"),
        ({"inner": 3}, "inner", "expected a table, found 3"),
        ({"inner": {"depth": 1.5}}, "inner.depth", "expected an integer, found 1.5"),
        ({"inner": {"depth": True}}, "inner.depth", "expected an integer, found True"),
        ({"maybe": {"depth": "1"}}, "maybe.depth", "expected an integer, found '1'"),
        ({"tags": "xy"}, "tags", "expected a list, found 'xy'"),
        ({"tags": ["x", 1]}, "tags[1]", "expected text, found 1"),
        ({"on": 1}, "on", "expected true or false, found 1"),
        ({"path": 1}, "path", "expected a path, found 1"),
        ({"notes": ["k"]}, "notes", "expected a table, found a list"),
        ({"notes": {"k": 1}}, "notes.k", "expected text, found 1"),
        ({"name": None}, "name", "expected text, found nothing"),
        ({"name": "bad"}, "", "the name is bad"),
    ],
)
def test_a_mistake_is_named(change, key, problem):
    table = {"name": "a", "inner": {"depth": 1}} | change
    with pytest.raises(RecordError) as info:
        read_record(Outer, table)
    assert info.value.key == key
    assert str(info.value) == (f"{key}: {problem}" if key else problem)


def test_the_hint_has_the_nearest_key_and_all_of_them():
    with pytest.raises(RecordError) as info:
        read_record(Outer, {"name": "a", "inner": {"depth": 1}, "knds": []})
    assert "'kinds'" in info.value.hint
    assert "maybe" in info.value.hint


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "inner", "depth", "tags", "on", "notes", "zzz"]), inner
        )
    ),
    max_leaves=12,
)


@hypothesis.given(
    st.dictionaries(st.sampled_from([f.name for f in dataclasses.fields(Outer)]), _JUNK)
)
def test_any_table_gives_a_record_or_a_record_error(table):
    try:
        record = read_record(Outer, table)
    except RecordError:
        return
    assert isinstance(record.inner, Inner)
    assert all(isinstance(tag, str) for tag in record.tags)
