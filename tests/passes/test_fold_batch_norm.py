import numpy as np
import pytest
from helpers.graphs import Graph, normal
from helpers.passes import apply, operators

from edgecomp.passes.fold_batch_norm import FoldBatchNormPass


def batch_norm(g, rng, x, channels, **attributes):
    terms = [normal(rng, channels) for _ in range(3)]
    variance = rng.uniform(0.5, 2, channels).astype(np.float32)
    return g("BatchNormalization", x, *terms, variance, epsilon=1e-3, **attributes)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "kind", ["conv", "grouped", "transposed", "transposed grouped", "gemm"]
)
def test_folded(rng, kind, bias):
    g = Graph()
    extra = [normal(rng, 6)] if bias else []
    if kind == "gemm":
        y = g("Gemm", g.input("x", (5, 4)), normal(rng, 4, 6), *extra)
    else:
        groups = 2 if "grouped" in kind else 1
        x = g.input("x", (2, 4, 7, 7))
        if kind.startswith("transposed"):
            y = g("ConvTranspose", x, normal(rng, 4, 6 // groups, 3, 3), *extra, group=groups)
        else:
            y = g("Conv", x, normal(rng, 6, 4 // groups, 3, 3), *extra, group=groups)
    model = g.model(batch_norm(g, rng, y, 6))
    assert apply(FoldBatchNormPass(), model).applied == 1
    assert len(model.graph) == 1
    assert model.graph[0].metadata_props["edgecomp.source"] == "net.py:0"


def test_shared_weights_stay_what_they_are(rng):
    g = Graph()
    x, weight = g.input("x", (1, 4, 7, 7)), g.constant(normal(rng, 4, 4, 1, 1))
    a = batch_norm(g, rng, g("Conv", x, weight), 4)
    model = g.model(g("Conv", a, weight))
    apply(FoldBatchNormPass(), model)
    assert operators(model) == ["Conv", "Conv"]


@pytest.mark.parametrize("shape", [(2, 4, 5, 5), (2, 4), (2, 4, 3)])
def test_alone_it_becomes_mul_and_add(rng, shape):
    g = Graph()
    y = g("Relu", g.input("x", shape))
    model = g.model(batch_norm(g, rng, y, 4))
    apply(FoldBatchNormPass(), model)
    assert operators(model) == ["Relu", "Mul", "Add"]


def test_a_product_read_elsewhere_keeps_its_weights(rng):
    g = Graph()
    y = g("Conv", g.input("x", (1, 4, 7, 7)), normal(rng, 4, 4, 1, 1))
    model = g.model(batch_norm(g, rng, y, 4), y)
    apply(FoldBatchNormPass(), model)
    assert operators(model) == ["Conv", "Mul", "Add"]


def test_training_mode_is_refused(rng):
    g = Graph()
    y = batch_norm(g, rng, g.input("x", (1, 4, 7, 7)), 4, training_mode=1, outputs=3)
    outcome = FoldBatchNormPass()(g.model(y[0], y[1]))
    assert not outcome.modified
    assert "training mode" in outcome.refusals[0].reason
