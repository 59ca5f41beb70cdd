import pytest
from helpers.graphs import Graph, normal
from helpers.passes import apply, operators

from edgecomp.passes.canonicalize_products import CanonicalizeProductsPass, is_canonical_gemm


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("bias", ["none", "row", "scalar", "matrix", "column", "computed"])
def test_gemm_with_a_constant_matrix(rng, trans_a, trans_b, bias):
    g = Graph()
    x = g.input("x", (4, 3) if trans_a else (3, 4))
    e = g.input("e", (5,))
    weight = normal(rng, *((5, 4) if trans_b else (4, 5)))
    c = {
        "none": [],
        "row": [normal(rng, 1, 5)],
        "scalar": [normal(rng)],
        "matrix": [normal(rng, 3, 5)],
        "column": [normal(rng, 3, 1)],
        "computed": [e],
    }[bias]
    y = g("Gemm", x, weight, *c, transA=trans_a, transB=trans_b, alpha=0.5, beta=2.0)
    model = g.model(g("Relu", y), g("Neg", e))
    apply(CanonicalizeProductsPass(), model)
    gemms = [node for node in model.graph if node.op_type == "Gemm"]
    assert len(gemms) == 1
    assert is_canonical_gemm(gemms[0])


def test_gemm_of_computed_matrices(rng):
    g = Graph()
    x, z, c = g.input("x", (4, 3)), g.input("z", (5, 4)), g.input("c", (3, 1))
    model = g.model(g("Gemm", x, z, c, transA=1, transB=1, alpha=3.0, beta=0.5))
    apply(CanonicalizeProductsPass(), model)
    assert "Gemm" not in operators(model)
    assert "MatMul" in operators(model)


def test_matmul_and_add_to_gemm(rng, golden):
    from edgecomp.graph.text import to_text

    g = Graph()
    x = g.input("x", (3, 4))
    y = g("Add", normal(rng, 5), g("MatMul", x, normal(rng, 4, 5)))
    model = g.model(g("Relu", y))
    apply(CanonicalizeProductsPass(), model)
    golden(to_text(model, sources=True))


def test_batched_matmul_keeps_its_form(rng):
    g = Graph()
    x = g.input("x", (2, 3, 4))
    y = g("Add", normal(rng, 1, 1, 5), g("MatMul", x, normal(rng, 1, 4, 5)))
    model = g.model(g("Relu", y))
    apply(CanonicalizeProductsPass(), model)
    product, total, _ = model.graph
    assert tuple(product.inputs[1].shape) == (4, 5)
    assert total.inputs[0] is product.outputs[0]
    assert tuple(total.inputs[1].shape) == (5,)


def test_a_bias_that_varies_by_row_stays_an_add(rng):
    g = Graph()
    x = g.input("x", (3, 4))
    model = g.model(g("Add", g("MatMul", x, normal(rng, 4, 5)), normal(rng, 3, 1)))
    apply(CanonicalizeProductsPass(), model)
    assert operators(model) == ["Gemm", "Add"]


def test_a_bias_that_broadcasts_the_product_stays_an_add(rng):
    g = Graph()
    x = g.input("x", (1, 4))
    model = g.model(g("Add", g("MatMul", x, normal(rng, 4, 5)), normal(rng, 2, 1, 5)))
    apply(CanonicalizeProductsPass(), model)
    assert operators(model) == ["Gemm", "Add"]


def test_shared_weights_and_outputs(rng):
    g = Graph()
    x, weight = g.input("x", (3, 4)), g.constant(normal(rng, 4, 4))
    a = g("MatMul", x, weight)
    b = g("Gemm", a, weight, transB=1)
    model = g.model(a, g("Add", b, normal(rng, 4)))
    apply(CanonicalizeProductsPass(), model)
    assert operators(model) == ["Gemm", "Gemm"]
