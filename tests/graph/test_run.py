import os
import pathlib

import numpy as np
import pytest
from helpers.graphs import Graph, normal

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph import run
from edgecomp.graph.compare import relative_difference


def network(rng):
    g = Graph()
    x, i = g.input("x", (2, 3)), g.input("i", (2,), np.int64)
    a = g("MatMul", x, normal(rng, 3, 4))
    return g.model(g("Relu", g("Gather", a, i, axis=0)))


def test_intermediate_values(rng):
    model = network(rng)
    feeds = run.random_feeds(model)
    assert feeds["i"].dtype == np.int64
    everything = run.run_model(model, feeds, "*")
    assert list(everything) == ["v0", "v1", "v2"]
    np.testing.assert_array_equal(everything["v2"], np.maximum(everything["v1"], 0))
    assert list(run.run_model(model, feeds)) == ["v2"]
    assert list(run.run_model(model, feeds, ["v1"])) == ["v1"]
    assert [value.name for value in model.graph.outputs] == ["v2"]


def test_weights_beside_the_file(rng, monkeypatch):
    model = network(rng)
    feeds = run.random_feeds(model)
    expected = run.run_model(model, feeds, "*")
    monkeypatch.setattr(run, "_EMBEDDED_BYTES", 0)
    for name, array in run.run_model(model, feeds, "*").items():
        np.testing.assert_array_equal(array, expected[name])


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be taken away")
def test_no_more_threads_than_cores_that_may_be_used(rng):
    model = network(rng)
    tasks = pathlib.Path("/proc/self/task")
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        before = len(list(tasks.iterdir()))
        runner = run.Runner(model)
        assert len(list(tasks.iterdir())) == before
    finally:
        os.sched_setaffinity(0, allowed)
    assert runner.names == ["v2"]


def test_what_onnxruntime_cannot_run():
    g = Graph()
    model = g.model(g("Relu", g.input("x", (2, 3))))
    model.graph[0].op_type = "Nothing"
    with pytest.raises(EdgecompError) as caught:
        run.run_model(model, run.random_feeds(model))
    assert caught.value.code is Code.OPERATOR_UNSUPPORTED


def test_relative_difference():
    a = np.array([0.0, 10.0], np.float32)
    assert relative_difference(a, a) == 0
    assert relative_difference(a + np.float32(1), a) == pytest.approx(0.1)
    assert relative_difference(a, a.astype(np.float64)) == np.inf
    assert relative_difference(a[:1], a) == np.inf
    nan = np.array([np.nan, 1.0])
    assert relative_difference(nan, nan) == 0
    assert relative_difference(nan, np.ones(2)) == np.inf
    assert relative_difference(np.array([1, 2]), np.array([1, 3])) == np.inf
    assert relative_difference(np.zeros(0), np.zeros(0)) == 0


def chosen(rng, *, rows=50, clip=False, other=False, axis=0):
    """A model whose integer input chooses rows of a table; how far its random numbers go."""
    g = Graph()
    ids = g.input("ids", (1, 400), np.int64)
    index = g("Min", g("Max", ids, np.int64(0)), np.int64(rows - 1)) if clip else ids
    table = normal(rng, rows, 3) if axis == 0 else normal(rng, 3, rows)
    out = g("Gather", table, g("Cast", index, to=6), axis=axis)
    model = g.model(out, g("Equal", ids, np.int64(1))) if other else g.model(out)
    return run.random_feeds(model)["ids"]


def test_random_integers_choose_among_all_rows_of_a_table(rng):
    assert set(chosen(rng).flat) == set(range(50))
    assert set(chosen(rng, clip=True).flat) == set(range(50))


def test_random_integers_that_something_else_reads_stay_small(rng):
    assert set(chosen(rng, other=True).flat) == {0, 1}
    assert set(chosen(rng, axis=1).flat) == {0, 1}
