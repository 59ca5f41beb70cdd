"""Tables of measured kernels: text, refusals, choice."""

import dataclasses
import json

import pytest
from helpers.dense import Conv, make_float
from helpers.targets import A53, AVX2

from edgecomp.errors import Code, EdgecompError
from edgecomp.schedules.cost_table import (
    BYTE_PRICE_NS,
    SCHEMA,
    CostTable,
    Header,
    Measured,
    core_facts,
    read_table,
    read_table_for,
    write_table,
)
from edgecomp.schedules.signature import signature


def header(target=AVX2, **changes):
    facts = {
        "target": target.name,
        "core": core_facts(target),
        "device": "a machine",
        "threads": 1,
        "date": "2026-11-21",
        "versions": {"edgecomp": "0.1.0", "apache-tvm": "0.27"},
    }
    return Header(**{**facts, **changes})


def entry(layer="convolution a", params="rows=1", ns=100, **changes):
    facts = {"schedule": "convolution_nhwc", "spread": 0.1, "runs": 9, "constant_bytes": 64}
    return Measured(layer=layer, params=params, ns=ns, **{**facts, **changes})


def test_a_table_is_read_as_it_was_written(tmp_path):
    table = CostTable(header(), [entry(), entry("b"), entry(params="rows=2"), entry(ns=90)])
    path = tmp_path / "folder" / "table.json"
    write_table(path, table)
    again = read_table_for(path, AVX2)
    assert again.text() == table.text() == path.read_text()
    assert again.digest == table.digest
    assert len(again) == 3
    assert again.entries("convolution a")[0].ns == 90


def test_the_text_does_not_depend_on_the_order_of_measuring():
    rows = [entry(), entry("b"), entry(params="rows=2")]
    assert CostTable(header(), rows).text() == CostTable(header(), rows[::-1]).text()


def test_every_entry_has_a_line_of_its_own():
    text = CostTable(header(), [entry(), entry("b")]).text()
    lines = [line for line in text.splitlines() if '"layer"' in line]
    assert [json.loads(line.strip().rstrip(","))["layer"] for line in lines] == [
        "b",
        "convolution a",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: {**c, "schema": SCHEMA + 1}, "schema 2"),
        (lambda c: {**c, "format": "other"}, "format"),
        (lambda c: {**c, "entries": 3}, "expected a list"),
        (lambda c: {**c, "entries": [3]}, "entries[0]: expected a table"),
        (lambda c: {**c, "entries": [{**c["entries"][0], "ns": "x"}]}, "entries[0].ns"),
        (lambda c: {**c, "entries": [{**c["entries"][0], "ns": 0}]}, "positive"),
        (lambda c: {**c, "entries": [{**c["entries"][0], "in_model_ns": -1}]}, "negative"),
        (lambda c: {**c, "threads": None}, "threads"),
        (lambda c: {k: v for k, v in c.items() if k != "device"}, "device: missing"),
        (lambda c: [c], "format"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, change, words):
    path = tmp_path / "table.json"
    content = json.loads(CostTable(header(), [entry()]).text())
    path.write_text(json.dumps(change(content)))
    with pytest.raises(EdgecompError) as error:
        read_table(path)
    assert error.value.code is Code.COST_TABLE_INVALID
    assert words in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "\x00", "[" * 100_000])
def test_what_is_no_json_is_refused(tmp_path, text):
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(EdgecompError) as error:
        read_table(path)
    assert error.value.code is Code.COST_TABLE_INVALID


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(EdgecompError) as error:
        read_table(tmp_path / "none.json")
    assert error.value.code is Code.FILE_MISSING


def test_the_table_of_another_target_is_refused(tmp_path):
    path = tmp_path / "table.json"
    write_table(path, CostTable(header(A53), [entry()]))
    with pytest.raises(EdgecompError, match="measured for target 'a53', not 'avx2'"):
        read_table_for(path, AVX2)


def test_the_table_of_another_processor_is_refused(tmp_path):
    other = dataclasses.replace(AVX2, core=dataclasses.replace(AVX2.core, name="other"))
    path = tmp_path / "table.json"
    write_table(path, CostTable(header(other), [entry()]))
    with pytest.raises(EdgecompError, match="measured with name = 'other', the target has ''"):
        read_table_for(path, AVX2)


@pytest.fixture
def operation(rng):
    return make_float(Conv(c=8, m=8, k=(3, 3), p=(1, 1, 1, 1)), rng)[0]


def test_the_fastest_kernel_is_found(operation):
    layer = signature(operation)
    table = CostTable(
        header(), [entry(layer, "a", 30), entry(layer, "b", 10), entry(layer, "c", 20)]
    )
    assert table.fastest(operation, AVX2).params == "b"
    assert table.fastest(operation, A53) is None
    assert table.fastest(operation, AVX2, without=("convolution_nhwc",)) is None
    assert CostTable(header()).fastest(operation, AVX2) is None


def test_larger_constants_have_to_pay(operation):
    layer = signature(operation)
    more = 1000
    small = entry(layer, "small", 10_000, constant_bytes=0)
    gain = int(more * BYTE_PRICE_NS)
    too_dear = entry(layer, "large", 10_000 - gain + 1, constant_bytes=more)
    pays = entry(layer, "large", 10_000 - gain - 1, constant_bytes=more)
    assert CostTable(header(), [small, too_dear]).fastest(operation, AVX2) == small
    assert CostTable(header(), [small, pays]).fastest(operation, AVX2) == pays


def test_times_in_a_model_count_before_others(operation):
    layer = signature(operation)
    alone = entry(layer, "alone", 10)
    slower, faster = (entry(layer, str(ns), 50, in_model_ns=ns) for ns in (40, 30))
    table = CostTable(header(), [alone, slower, faster])
    assert table.ranked(operation) == [faster, slower, alone]


def test_a_later_table_replaces_whole_layers():
    older = CostTable(header(date="2026-01-02"), [entry("a", "x", 1), entry("b", "x", 1)])
    later = CostTable(header(date="2026-01-01"), [entry("a", "y", 2)])
    joined = older.joined(later)
    assert [(e.layer, e.params) for e in [*joined.entries("a"), *joined.entries("b")]] == [
        ("a", "y"),
        ("b", "x"),
    ]
    assert joined.header.date == "2026-01-02"
