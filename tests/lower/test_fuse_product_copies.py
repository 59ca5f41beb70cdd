import dataclasses

import numpy as np
import pytest
from helpers.graphs import Graph
from helpers.rewritten import check_results, rewritten
from helpers.targets import A76, AVX2, AVX512

from edgecomp.lower.claims import processor_claims
from edgecomp.lower.fuse_product_copies import fuse_product_copies
from edgecomp.plan.movement import StridedCopy
from edgecomp.plan.products import BatchMatrixMultiply
from edgecomp.schedules.cpu import batch_matrix_multiply


def attention(g, *, width=8, reread=""):
    """Heads that lie side by side, keys turned, heads side by side again."""
    rows = 13

    def heads(name):
        x = g.input(name, (2, rows, 3 * width))
        cut = g("Reshape", x, np.array([2, rows, 3, width]))
        return g("Transpose", cut, perm=[0, 2, 1, 3])

    q, k, v = heads("q"), heads("k"), heads("v")
    scores = g("MatMul", q, g("Transpose", k, perm=[0, 1, 3, 2]))
    y = g("MatMul", g("Softmax", scores, axis=-1), v)
    joined = g("Reshape", g("Transpose", y, perm=[0, 2, 1, 3]), np.array([2, rows, 3 * width]))
    return g.model(joined, *({"q": [q], "y": [y]}.get(reread, [])))


def fused(model, target):
    return rewritten(
        model, target, lambda program: fuse_product_copies(program, processor_claims(target))
    )


def products(program):
    return [o for o in program.operations if isinstance(o.kind, BatchMatrixMultiply)]


def copies(program):
    return sum(isinstance(o.kind, StridedCopy) for o in program.operations)


@pytest.mark.parametrize("target", [AVX2, AVX512, A76], ids=lambda t: t.name)
def test_attention_needs_no_copy(target):
    model = attention(Graph())
    before, program = fused(model, target)
    assert copies(before) == 4
    assert copies(program) == 0
    first, second = products(program)
    assert first.kind.a.strides == (13 * 24, 8, 24, 1)
    assert second.kind.output.strides == (13 * 24, 8, 24, 1)
    assert len(first.nodes) > 1  # the copies' too
    check_results(model, program, target, slices=2)


@pytest.mark.parametrize(("reread", "left"), [("q", 1), ("y", 1)])
def test_copies_that_others_read_stay(reread, left):
    _, program = fused(attention(Graph(), reread=reread), AVX2)
    assert copies(program) == left


def test_a_copy_between_products_is_one_of_theirs():
    """What the first one writes through it, the second one reads as it is."""
    g = Graph()
    y = g("MatMul", g.input("a", (2, 3, 5, 8)), g.input("b", (2, 3, 8, 16)))
    turned = g("Transpose", y, perm=[0, 2, 1, 3])
    model = g.model(g("MatMul", turned, g.input("c", (2, 5, 16, 4))))
    before, program = fused(model, AVX2)
    assert (copies(before), copies(program)) == (1, 0)
    check_results(model, program, AVX2)


@pytest.mark.parametrize("turned", [False, True], ids=["rows", "columns"])
def test_rows_of_b_that_are_one(turned):
    """Kernels step from one element of K to the next: a step of 0 is a packed panel to them."""
    g = Graph()
    b = g("Expand", g.input("b", (2, 1, 9) if not turned else (2, 5, 1)), np.array([2, 5, 9]))
    b = g("Transpose", b, perm=[0, 2, 1]) if turned else b
    model = g.model(g("MatMul", g.input("a", (2, 3, 9 if turned else 5)), b))
    _, program = fused(model, AVX2)
    check_results(model, program, AVX2)


def test_rows_in_one_set_of_the_cache_are_copied():
    _, program = fused(attention(Graph(), width=1024), AVX2)
    first, _ = products(program)
    assert first.kind.a is None
    assert first.kind.b is not None


def test_a_program_without_such_copies_is_the_same():
    g = Graph()
    a, b = g.input("a", (2, 3, 4)), g.input("b", (2, 4, 5))
    before, after = fused(g.model(g("MatMul", a, b)), AVX2)
    assert after is before


def test_views_decide_what_is_claimed():
    _, program = fused(attention(Graph()), AVX2)
    first, _ = products(program)
    far = dataclasses.replace(first.kind.b, strides=(312, 8, 24, 2))
    first.kind = dataclasses.replace(first.kind, b=far)
    assert "contiguous" in batch_matrix_multiply.match(first, AVX2)
