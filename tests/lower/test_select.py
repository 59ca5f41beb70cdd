"""Kernels by measurement where a table knows the layer, else by the cost model."""

import logging

import pytest
from helpers.dense import Conv, make_float
from helpers.targets import AVX2

from edgecomp.lower.select import select
from edgecomp.plan.operations import Program
from edgecomp.schedules.candidates import candidates
from edgecomp.schedules.cost_table import CostTable, Header, Measured, core_facts
from edgecomp.schedules.signature import signature

CASE = Conv(c=16, m=48, h=12, w=12, k=(3, 3), p=(1, 1, 1, 1))


@pytest.fixture
def operation(rng):
    return make_float(CASE, rng)[0]


@pytest.fixture
def program(operation):
    return Program("test", [operation], operation.inputs[:1], operation.outputs, ["y"])


def table(operation, kernels):
    """A table with (schedule, params, ns) for the operation."""
    header = Header(
        target=AVX2.name,
        core=core_facts(AVX2),
        device="a machine",
        threads=1,
        date="2026-11-21",
        versions={},
    )
    entries = [
        Measured(
            layer=signature(operation),
            schedule=schedule,
            params=params,
            ns=ns,
            spread=0.0,
            runs=3,
            constant_bytes=0,
        )
        for schedule, params, ns in kernels
    ]
    return CostTable(header, entries)


def test_without_a_table_the_model_chooses(program):
    (choice,) = select(program, AVX2)
    assert choice.measured is None


@pytest.mark.parametrize("index", [0, 1, -1])
def test_the_fastest_kernel_is_taken(program, operation, index):
    found = candidates(operation, AVX2)
    kernels = [(c.schedule, c.params, 100 + i) for i, c in enumerate(found)]
    wanted = found[index]
    kernels.append((wanted.schedule, wanted.params, 50))
    (choice,) = select(program, AVX2, table=table(operation, kernels))
    assert (choice.schedule, choice.measured.params) == (wanted.schedule, wanted.params)
    assert choice.measured.ns == 50


def test_what_no_longer_fits_is_passed_over_and_said(program, operation, caplog):
    own = candidates(operation, AVX2)[0]
    kernels = [
        ("convolution_nhwc", "axis=9 rows=1", 1),
        ("gone", "rows=1", 2),
        (own.schedule, own.params, 3),
    ]
    with caplog.at_level(logging.INFO, "edgecomp.lower.select"):
        (choice,) = select(program, AVX2, table=table(operation, kernels))
    assert choice.measured.ns == 3
    assert len(caplog.messages) == 2
    assert "no longer fits (gone rows=1)" in caplog.messages[1]


def test_where_nothing_fits_the_model_chooses(program, operation):
    (untuned,) = select(program, AVX2)
    (choice,) = select(program, AVX2, table=table(operation, [("gone", "rows=1", 2)]))
    assert choice.measured is None
    assert choice.calls[0].kernel.symbol == untuned.calls[0].kernel.symbol


def test_an_excluded_schedule_is_not_taken_however_fast(program, operation):
    found = candidates(operation, AVX2)
    kernels = [(c.schedule, c.params, 1 + (i > 0)) for i, c in enumerate(found)]
    without = (found[0].schedule,)
    (choice,) = select(program, AVX2, without, table(operation, kernels))
    assert choice.schedule != found[0].schedule
