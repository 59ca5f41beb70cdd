"""What every pass test asks: same numbers, a second run changes nothing, sources stay."""

import numpy as np

from edgecomp.graph.compare import relative_difference
from edgecomp.graph.run import random_feeds, run_model
from edgecomp.graph.source import source_of
from edgecomp.graph.verify import verify
from edgecomp.passes.outcome import Numerics


def operators(model):
    return [node.op_type for node in model.graph]


def apply(each, model, *, tolerance=2e-5, seed=0):
    """Run a pass and check parity, structure, sources, honesty and idempotence; the outcome."""
    feeds = random_feeds(model, seed)
    names = [(value.name, tuple(value.shape), value.dtype) for value in model.graph.outputs]
    inputs = [(value.name, tuple(value.shape), value.dtype) for value in model.graph.inputs]
    had_sources = all(source_of(node) for node in model.graph)
    before = run_model(model, feeds)
    outcome = each(model)
    verify(model)
    assert names == [(v.name, tuple(v.shape), v.dtype) for v in model.graph.outputs]
    assert inputs == [(v.name, tuple(v.shape), v.dtype) for v in model.graph.inputs]
    after = run_model(model, feeds)
    for name, expected in before.items():
        if each.numerics is Numerics.EXACT:
            np.testing.assert_array_equal(after[name], expected)
        else:
            assert relative_difference(after[name], expected) <= tolerance, name
    if had_sources:
        assert all(source_of(node) for node in model.graph)
    declared = {v.name: tuple(v.shape) for n in model.graph for v in n.outputs if v.name}
    everything = run_model(model, feeds, "*")
    assert {name: array.shape for name, array in everything.items()} == {
        name: declared[name] for name in everything
    }
    assert not each(model).modified
    return outcome
