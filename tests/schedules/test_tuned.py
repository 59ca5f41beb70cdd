"""Which table a build uses."""

import dataclasses
import logging

import pytest
from helpers.targets import A53, AVX2

from edgecomp.errors import Code, EdgecompError
from edgecomp.resources import resource_folder
from edgecomp.schedules import tuned
from edgecomp.schedules.cost_table import (
    CostTable,
    Header,
    Measured,
    core_facts,
    read_table,
    write_table,
)
from edgecomp.schedules.tuned import shipped_table, table_for, table_name


def table(target, *entries):
    header = Header(
        target=target.name,
        core=core_facts(target),
        device="a machine",
        threads=1,
        date="2026-11-21",
        versions={},
    )
    return CostTable(
        header,
        [
            Measured(
                layer=layer,
                schedule="convolution_nhwc",
                params=params,
                ns=9,
                spread=0.0,
                runs=3,
                constant_bytes=0,
            )
            for layer, params in entries
        ],
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where tables that come with edgecomp lie."""
    monkeypatch.setattr(tuned, "resource_folder", lambda _: tmp_path)
    return tmp_path / "tuned"


def test_nothing_is_measured_for_most_targets(folder):
    assert shipped_table(AVX2) is None
    assert table_for(AVX2) is None


def test_a_table_is_found_by_its_target(folder):
    shipped = table(AVX2, ("a", "x"))
    write_table(folder / table_name(AVX2), shipped)
    write_table(folder / table_name(A53), table(A53, ("a", "y")))
    assert shipped_table(AVX2).text() == shipped.text()
    assert table_for(AVX2).text() == shipped.text()
    assert table_for(AVX2, "none") is None


def test_another_processor_of_the_same_name_has_no_table(folder):
    write_table(folder / table_name(AVX2), table(AVX2, ("a", "x")))
    core = dataclasses.replace(AVX2.core, l2_bytes=12345)
    assert shipped_table(dataclasses.replace(AVX2, core=core)) is None


def test_the_users_table_goes_before(folder, tmp_path):
    write_table(folder / table_name(AVX2), table(AVX2, ("a", "x"), ("b", "x")))
    own = tmp_path / "own.json"
    write_table(own, table(AVX2, ("a", "y")))
    found = table_for(AVX2, str(own))
    assert [found.entries(name)[0].params for name in ("a", "b")] == ["y", "x"]
    with pytest.raises(EdgecompError) as error:
        table_for(A53, str(own))
    assert error.value.code is Code.COST_TABLE_INVALID


def test_a_damaged_table_of_the_installation_costs_speed_not_the_build(folder, caplog):
    folder.mkdir(parents=True)
    (folder / table_name(AVX2)).write_text("{")
    with caplog.at_level(logging.WARNING):
        assert shipped_table(AVX2) is None
    assert "cannot be read as JSON" in caplog.text


def test_hosts_have_their_processor_in_the_name():
    core = dataclasses.replace(AVX2.core, name="Intel(R) Xeon(R) Processor")
    host = dataclasses.replace(AVX2, name="host", core=core)
    assert table_name(host) == "host-intel-r-xeon-r-processor.json"
    assert table_name(A53) == "a53.json"


def test_the_tables_that_come_with_edgecomp_can_be_read():
    for path in sorted((resource_folder("targets") / "tuned").glob("*.json")):
        found = read_table(path)
        assert len(found)
        assert found.text() == path.read_text()
        assert path.name.startswith(found.header.target)
