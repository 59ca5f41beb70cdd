import numpy as np
import pytest
from helpers.gpu import TARGETS
from helpers.graphs import Graph
from helpers.rewritten import check_results, rewritten

from edgecomp.lower.fuse_attention import fuse_attention
from edgecomp.plan.attention import Attention, Softmax

TARGET = TARGETS["opencl"]
HEADS, DEPTH = 3, 8


def attention(g, *, read_twice=False):
    """Queries, keys and values side by side, scaled scores with a mask, heads joined again."""
    x = g.input("x", (2, 11, 3 * HEADS * DEPTH))
    mask = g.input("mask", (2, 1, 1, 11))
    split = g(
        "Transpose", g("Reshape", x, np.array([2, 11, 3, HEADS, DEPTH])), perm=[2, 0, 3, 1, 4]
    )
    q, k, v = (g("Gather", split, np.array(n), axis=0) for n in range(3))
    scores = g("MatMul", q, g("Transpose", k, perm=[0, 1, 3, 2]))
    masked = g("Add", g("Mul", scores, np.array(0.3, np.float32)), mask)
    weights = g("Softmax", masked, axis=-1)
    y = g("Transpose", g("MatMul", weights, v), perm=[0, 2, 1, 3])
    y = g("Reshape", y, np.array([2, 11, HEADS * DEPTH]))
    return g.model(y, weights) if read_twice else g.model(y)


def fused(model, **more):
    return rewritten(model, TARGET, lambda program: fuse_attention(program, TARGET, **more))


def test_it_is_one_kernel_without_transposes():
    model = attention(Graph())
    _, program = fused(model)
    assert len(check_results(model, program, TARGET)) == 1


@pytest.mark.parametrize("why", ["read twice", "excluded", "on the processor"])
def test_it_stays_as_it_is(why):
    model = attention(Graph(), read_twice=why == "read twice")
    program, _ = fused(model)
    softmax = next(o for o in program.operations if isinstance(o.kind, Softmax))
    more = {
        "excluded": {"without": ("opencl_attention",)},
        "on the processor": {"left": {softmax: "slower"}},
    }.get(why, {})
    assert fuse_attention(program, TARGET, **more) is program


def attend(g, q, name, batch, depth):
    """Rows of q to seven keys of its own."""
    k = g("Transpose", g.input(f"keys{name}", (*batch, 7, depth)), perm=[0, 1, 3, 2])
    weights = g("Softmax", g("MatMul", q, k), axis=-1)
    return g("MatMul", weights, g.input(f"values{name}", (*batch, 7, depth)))


def test_a_copy_between_two_is_part_of_one():
    """The other one reads what the first one writes through it."""
    g = Graph()
    y = attend(g, g.input("q", (2, 3, 5, 8)), "1", (2, 3), 8)
    turned = g("Transpose", y, perm=[0, 2, 1, 3])
    model = g.model(attend(g, turned, "2", (2, 5), 8))
    _, program = fused(model)
    assert sum(isinstance(o.kind, Attention) for o in program.operations) == 1
    check_results(model, program, TARGET)
