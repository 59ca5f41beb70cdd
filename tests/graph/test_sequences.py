import hypothesis
import hypothesis.strategies as st
import numpy as np
import onnx.reference
import onnx_ir as ir
import pytest
from helpers.graphs import Graph
from helpers.passes import operators

from edgecomp.errors import EdgecompError
from edgecomp.graph.run import random_feeds, run_model


def position(g, sequence, index):
    return g("Neg", g("SequenceAt", sequence, np.array(index)))


def check(g, *outputs, expected):
    """The model's operators, and its numbers against onnx's reference of the same graph."""
    proto = g.proto(*outputs)
    model = g.model(*outputs)
    assert operators(model) == expected
    feeds = random_feeds(model, 0)
    wanted = onnx.reference.ReferenceEvaluator(proto).run(None, dict(feeds))
    found = run_model(model, feeds)
    for value, each in zip(model.graph.outputs, wanted, strict=True):
        assert tuple(value.shape) == each.shape
        np.testing.assert_array_equal(found[value.name], each)
    return model


@hypothesis.given(size=st.integers(1, 7), axis=st.integers(-3, 2))
def test_even_parts(size, axis):
    g = Graph()
    sequence = g("SplitToSequence", g.input("x", (5, 4, 7)), np.array(size), axis=axis)
    first, last = position(g, sequence, 0), position(g, sequence, -1)
    check(g, first, last, expected=["Slice", "Neg", "Slice", "Neg"])


def test_given_sizes():
    g = Graph()
    sequence = g("SplitToSequence", g.input("x", (2, 7)), np.array([1, 4, 2]), axis=1)
    parts = [position(g, sequence, k) for k in range(3)]
    check(g, *parts, expected=["Slice", "Neg"] * 3)


@pytest.mark.parametrize(("keep", "expected"), [(0, "Gather"), (1, "Slice")])
def test_single_elements(keep, expected):
    g = Graph()
    sequence = g("SplitToSequence", g.input("x", (2, 3)), axis=1, keepdims=keep)
    check(g, position(g, sequence, 1), expected=[expected, "Neg"])


def test_constructed():
    g = Graph()
    a, b = g("Abs", g.input("a", (2, 3))), g("Relu", g.input("b", (2, 3)))
    sequence = g("SequenceConstruct", a, b)
    joined = g("ConcatFromSequence", sequence, axis=1)
    expected = ["Abs", "Relu", "Concat", "Identity", "Neg"]
    check(g, position(g, sequence, 1), joined, expected=expected)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_stacked(axis):
    g = Graph()
    a, b = g("Abs", g.input("a", (2, 3))), g("Relu", g.input("b", (2, 3)))
    sequence = g("SequenceConstruct", a, b)
    joined = g("ConcatFromSequence", sequence, axis=axis, new_axis=1)
    check(g, joined, expected=["Abs", "Relu", "Reshape", "Reshape", "Concat"])


def test_sources_stay():
    g = Graph()
    sequence = g("SplitToSequence", g.input("x", (4, 3)), np.array(2), axis=0)
    model = g.model(position(g, sequence, 1))
    assert all(node.metadata_props["edgecomp.source"] for node in model.graph)


def test_a_position_known_only_at_run_time_keeps_the_sequence():
    g = Graph()
    sequence = g("SplitToSequence", g.input("x", (4, 3)), np.array(2), axis=0)
    model = ir.from_proto(
        g.proto(g("SequenceAt", sequence, g.input("position", (), np.int64)))
    )
    assert "SequenceAt" in operators(model)


@pytest.mark.parametrize("index", [2, -3])
def test_a_position_outside_keeps_the_sequence(index):
    g = Graph()
    sequence = g("SplitToSequence", g.input("x", (4, 3)), np.array(2), axis=0)
    assert "SequenceAt" in operators(g.model(position(g, sequence, index)))


def test_a_position_before_the_first_of_two():
    g = Graph()
    sequence = g("SplitToSequence", g.input("x", (4, 3)), np.array(2), axis=0)
    check(g, position(g, sequence, -2), expected=["Slice", "Neg"])


def test_a_negative_size_is_no_slice():
    g = Graph()
    sequence = g("SplitToSequence", g.input("x", (4, 3)), np.array([5, -1]), axis=0)
    with pytest.raises(EdgecompError, match="SplitToSequence"):
        g.model(position(g, sequence, 0))
