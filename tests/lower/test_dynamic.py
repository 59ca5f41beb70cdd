"""Operator families with dynamic dimensions, at any size, against onnxruntime."""

import hypothesis
import numpy as np
import onnxruntime
import pytest
from helpers.dynamic import dynamic_plan, link
from helpers.dynamic_families import BATCH, FAMILIES, LENGTH, feeds_of, specs_of, weights, x_of
from helpers.graphs import Graph
from hypothesis import strategies

from edgecomp.errors import Code, EdgecompError


def proto_of(family):
    graph = Graph()
    return graph.proto(family(graph))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    protos = {name: proto_of(family) for name, family in FAMILIES.items()}
    plans = [dynamic_plan(proto, specs_of(proto), name) for name, proto in protos.items()]
    open_model = link(plans, tmp_path_factory.mktemp("dynamic"))
    sessions = {name: open_model(name, threads=2) for name in protos}
    options = onnxruntime.SessionOptions()
    # Else it rounds activations to 8 bits in front of weights of few bits.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    yield {
        name: (
            session,
            onnxruntime.InferenceSession(protos[name].SerializeToString(), options),
        )
        for name, session in sessions.items()
    }
    for session in sessions.values():
        session.close()


@pytest.mark.parametrize("family", FAMILIES)
@hypothesis.given(
    batch=strategies.integers(1, BATCH), length=strategies.integers(1, LENGTH), seed=...
)
@hypothesis.example(batch=1, length=1, seed=0)
@hypothesis.example(batch=BATCH, length=LENGTH, seed=0)
@hypothesis.example(batch=3, length=LENGTH - 1, seed=0)
def test_family(models, family, batch: int, length: int, seed: int):
    session, reference = models[family]
    feeds = feeds_of(reference, batch, length, np.random.default_rng(abs(seed)))
    (expected,) = reference.run(None, feeds)
    (found,) = session.run(feeds).values()
    assert found.shape == expected.shape
    if found.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)
    else:
        np.testing.assert_array_equal(found, expected)


def test_out_of_bounds(models):
    session, _ = models["elementwise"]
    with pytest.raises(EdgecompError, match="is 1 to 40, not 41") as caught:
        session.run({"x": weights(1, 41, 24), "y": weights(1, 41, 1)})
    assert caught.value.code is Code.INPUT_MISMATCH
    with pytest.raises(EdgecompError, match="bytes, not"):
        session.run({"x": weights(1, 7, 24), "y": weights(1, 9, 1)})
    session.run({"x": weights(1, 7, 24), "y": weights(1, 7, 1)})


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda g: g("CumSum", x_of(g, "b", "s"), np.int64(0)), "Cumulative"),
        (
            lambda g: g(
                "Slice", x_of(g, "s", "s"), *(np.array([k]) for k in (0, 20, 0)), np.array([3])
            ),
            "no simple expression",
        ),
        (
            lambda g: g("Mul", x_of(g, "s", 3), g("Sqrt", g("Cast", g("Size", "x"), to=1))),
            "depends on the size",
        ),
    ],
)
def test_refused(make, part):
    """What cannot be dynamic is refused with the node and what to do, never computed wrongly."""
    proto = proto_of(make)
    with pytest.raises(EdgecompError, match=part) as caught:
        dynamic_plan(proto, specs_of(proto))
    assert caught.value.code is Code.DIMENSION_FREE
    assert caught.value.node
    assert caught.value.source.startswith("net.py")
    assert "[a..b]" in caught.value.hint


def test_a_normalisation_multiplies_by_factors_where_it_makes_8_bits(tmp_path, rng):
    g = Graph()
    y = g("LayerNormalization", x_of(g, "b", "s", 19), weights(19), weights(19), axis=-1)
    z = g("Mul", y, np.exp2(np.arange(19) % 4 - 2).astype(np.float32))
    stored = g("QuantizeLinear", z, np.array(0.03, np.float32), np.array(120, np.uint8))
    proto = g.proto(stored, g("Neg", y))
    plan = dynamic_plan(proto, specs_of(proto), "factors")
    assert len(plan.calls) == 2
    session = link([plan], tmp_path)("factors", threads=1)
    reference = onnxruntime.InferenceSession(proto.SerializeToString())
    for batch, length in ((1, 1), (2, LENGTH - 1), (BATCH, LENGTH)):
        feeds = feeds_of(reference, batch, length, rng)
        for found, expected in zip(
            session.run(feeds).values(), reference.run(None, feeds), strict=True
        ):
            steps = np.abs(found.astype(np.float64) - expected)
            assert found.shape == expected.shape
            # What lies next to the middle of two steps may be either.
            assert steps.max() <= (1 if found.dtype == np.uint8 else 2e-5)
            assert (steps > 2e-5).mean() < 0.01
    session.close()


def test_rows_of_any_length_are_normalised_to_8_bits(tmp_path, rng):
    g = Graph()
    x = g("Flatten", x_of(g, "b", "s", 12))
    size = g("Shape", x, start=1)
    scale, bias = (
        g("Slice", weights(12 * LENGTH), np.array([0]), size, np.array([0])) for _ in range(2)
    )
    y = g("LayerNormalization", x, scale, bias, axis=-1)
    proto = g.proto(
        g("QuantizeLinear", y, np.array(0.03, np.float32), np.array(120, np.uint8))
    )
    plan = dynamic_plan(proto, specs_of(proto), "rows")
    assert len(plan.calls) == 1
    session = link([plan], tmp_path)("rows", threads=1)
    reference = onnxruntime.InferenceSession(proto.SerializeToString())
    for batch, length in ((1, 1), (2, LENGTH - 1), (3, 7), (BATCH, LENGTH)):
        feeds = feeds_of(reference, batch, length, rng)
        (found,), (expected,) = session.run(feeds).values(), reference.run(None, feeds)
        assert found.shape == expected.shape
        steps = np.abs(found.astype(int) - expected)
        # What lies next to the middle of two steps may be either.
        assert steps.max() <= 1
        assert steps.mean() < 0.01
    session.close()
