"""Normalisations in single operators stay float, other squares and means do not."""

import numpy as np
import pytest
from helpers.graphs import Graph, normal

from edgecomp.calibrate.observe import collect_ranges
from edgecomp.graph.run import Runner, random_feeds
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.normalisation_parts import normalisation_parts


def normalised(rng, form):
    """A product, a normalisation over the positions, another product."""
    g = Graph()
    scales = np.exp(rng.uniform(-4, 2, 16)).astype(np.float32)
    y = g("Relu", g("Gemm", g.input("x", (24, 8)), normal(rng, 8, 16) * scales))
    axes = np.array([0])
    d = g("Sub", y, g("ReduceMean", y, axes))
    square = g("Pow", d, np.float32(2)) if form == "pow" else g("Mul", d, d)
    variance = g("Add", g("ReduceMean", square, axes), np.float32(1e-3))
    root = g("Sqrt", variance)
    row = normal(rng, 16) + np.float32(2)
    y = (
        g("Div", d, root)
        if form == "pow"
        else g("Mul", d, g("Mul", g("Reciprocal", root), row))
    )
    return g, g("Gemm", y, normal(rng, 16, 4))


@pytest.mark.parametrize(("form", "count"), [("pow", 7), ("mul", 9)])
def test_all_parts(rng, form, count):
    g, y = normalised(rng, form)
    model = g.model(y)
    parts = normalisation_parts(model.graph)
    assert len(parts) == count
    assert not any(node.op_type in ("Gemm", "Relu") for node in parts)
    assert any(node.op_type == ("Div" if form == "pow" else "Mul") for node in parts)


@pytest.mark.parametrize("form", ["pow", "mul"])
def test_they_stay_float_and_the_results_good(rng, form, figure):
    g, y = normalised(rng, form)
    model = g.model(y)
    feeds = [random_feeds(model, seed) for seed in range(8)]
    expected = np.stack([Runner(model)(feed)[y] for feed in feeds])
    insert = InsertQdqPass(collect_ranges(model, feeds))
    insert(model)
    found = np.stack([Runner(model)(feed)[y] for feed in feeds])
    decibels = 10 * np.log10((expected**2).sum() / ((found - expected) ** 2).sum())
    figure(f"normalisation in parts ({form}), int8 products around it", f"{decibels:.1f} dB")
    assert decibels > 30
    assert any("part of a normalisation" in reason for reason in insert.refusals.values())


def test_other_squares_and_means(rng):
    g = Graph()
    x = g.input("x", (4, 8))
    square = g("Mul", x, x)
    mean = g("ReduceMean", square, np.array([1]))
    model = g.model(g("Add", square, mean))
    assert not normalisation_parts(model.graph)
