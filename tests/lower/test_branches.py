"""If whose condition is known at run time, against onnxruntime."""

import hypothesis
import numpy as np
import pytest
from helpers.branching import Compiled, parse
from hypothesis import strategies as st

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.load import load_model
from edgecomp.plan.plan import RegionKind


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def both(compiled, **feeds):
    for condition in (True, False):
        compiled.check(c=condition, **feeds)


@hypothesis.settings(max_examples=12, deadline=None)
@hypothesis.given(st.lists(st.integers(0, 19), max_size=4))
def test_odd_empty_and_scalar_shapes(shape):
    kind = f"float[{','.join(map(str, shape))}]" if shape else "float"
    compiled = Compiled(
        f"""g (bool c, {kind} x) => ({kind} y, {kind} z) {{
            w = Relu(x)
            y, z = If (c) <
              then_branch = t () => ({kind} a, {kind} b) {{ a = Add(w, x)  b = Neg(w) }},
              else_branch = e () => ({kind} d, {kind} f) {{ f = Sub(x, w)  d = Exp(w) }}
            >
        }}""",
        shapes={"x": tuple(shape)},
    )
    both(compiled, x=values(*shape))


def test_results_that_are_made_outside():
    """Passed on, constant, given twice, or only another view."""
    compiled = Compiled(
        """g (bool c, float[2,3] x) => (float[2,3] y, float[2,3] z, float[6] v, float[2,3] q)
           <int64[1] flat = {-1}> {
            w = Abs(x)
            y, z, v, q = If (c) <
              then_branch = t () => (float[2,3] a, float[2,3] b, float[6] r, float[2,3] p) {
                a = Identity(x)
                b = Identity(w)
                r = Reshape(x, flat)
                p = Constant<value = float[2,3] {1, 2, 3, 4, 5, 6}>()
              },
              else_branch = e () => (float[2,3] d, float[2,3] f, float[6] s, float[2,3] u) {
                k = Mul(x, w)
                d = Identity(k)
                f = Identity(k)
                s = Reshape(k, flat)
                u = Neg(k)
              }
            >
        }"""
    )
    both(compiled, x=values(2, 3))


def test_branches_inside_branches_read_everything_around():
    compiled = Compiled(
        """g (bool c, bool d, float[3,7] x, float[7] k) => (float[3,7] y) {
            w = Tanh(x)
            y = If (c) <
              then_branch = t () => (float[3,7] a) {
                i = Mul(w, k)
                j = If (d) <
                  then_branch = tt () => (float[3,7] b) { b = Add(i, x) },
                  else_branch = te () => (float[3,7] e) { f = Sub(i, w) e = Exp(f) }
                >
                a = Mul(j, w)
              },
              else_branch = e () => (float[3,7] m) {
                m = If (d) <
                  then_branch = et () => (float[3,7] n) { n = Neg(x) },
                  else_branch = ee () => (float[3,7] o) { o = Add(k, w) }
                >
              }
            >
        }"""
    )
    assert len(compiled.plan.regions) == 6
    for d in (True, False):
        both(compiled, d=d, x=values(3, 7), k=values(7, seed=1))


def test_images_get_a_layout_of_their_own_inside():
    weights = ", ".join(f"{number / 50 - 1:g}" for number in range(108))
    compiled = Compiled(
        f"""g (bool c, float[1,3,9,11] x) => (float[1,4,9,11] y)
            <float[4,3,3,3] w = {{{weights}}}, float[1,4,1,1] s = {{1, 2, 3, 4}}> {{
            k = Conv<pads = [1, 1, 1, 1]>(x, w)
            y = If (c) <
              then_branch = t () => (float[1,4,9,11] a) {{ a = Relu(k) }},
              else_branch = e () => (float[1,4,9,11] b) {{
                v = Sigmoid(x)
                q = Conv<pads = [1, 1, 1, 1]>(v, w)
                r = Mul(q, s)
                b = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(r)
              }}
            >
        }}"""
    )
    both(compiled, x=values(1, 3, 9, 11))


@pytest.mark.parametrize("dtype", ["int64", "bool", "double", "float16", "uint8"])
def test_any_type(dtype):
    compiled = Compiled(
        f"""g (bool c, {dtype}[5] x, {dtype}[5] k) => ({dtype}[5] y) {{
            y = If (c) <
              then_branch = t () => ({dtype}[5] a) {{ a = Identity(k) }},
              else_branch = e () => ({dtype}[5] b) {{ b = Identity(x) }}
            >
        }}"""
    )
    kind = {"double": "float64"}.get(dtype, dtype)
    x, k = (np.array([0, 1, 1, 0, 1], kind), np.array([1, 1, 0, 0, 1], kind))
    both(compiled, x=x, k=k)


def test_a_condition_that_is_computed_twice_over_the_same_memory():
    compiled = Compiled(
        """g (float[9] x) => (float[9] y, float[9] z) <float h = {0.5}, int64[1] i = {0}> {
            s = ReduceSum<keepdims = 0>(x, i)
            p = Greater(s, h)
            y = If (p) <
              then_branch = t () => (float[9] a) { a = Neg(x) },
              else_branch = e () => (float[9] b) { b = Exp(x) }
            >
            u = ReduceSum<keepdims = 0>(y, i)
            q = Greater(u, s)
            z = If (q) <
              then_branch = t2 () => (float[9] d) { d = Mul(y, x) },
              else_branch = e2 () => (float[9] f) { f = Sub(y, x) }
            >
        }"""
    )
    for seed in range(8):
        compiled.check(x=values(9, seed=seed))


def test_different_shapes_are_refused_by_name():
    model = parse(
        """g (bool c, float[4] x) => (float[n] y) <int64[1] a = {0}, int64[1] b = {2}> {
            y = If (c) <
              then_branch = t () => (float[4] p) { p = Neg(x) },
              else_branch = e () => (float[2] q) { q = Slice(x, a, b) }
            >
        }"""
    )
    with pytest.raises(EdgecompError) as error:
        load_model(model)
    assert error.value.code is Code.OPERATOR_UNSUPPORTED
    assert "'y' the shapes [4] and [2]" in error.value.cause
    assert error.value.node == "y"
    assert "condition a constant" in (error.value.hint or "")


def test_a_branch_that_does_not_fit_the_shapes_fails_the_run():
    """As in a model for two rates, where the size of the input belongs to one of them."""
    compiled = Compiled(
        """g (bool c, float[n] x) => (float y) <int64[2] a = {2, 3}, int64[2] b = {2, 4}> {
            y = If (c) <
              then_branch = t () => (float p) { i = Reshape(x, a) p = ReduceSum<keepdims = 0>(i) },
              else_branch = e () => (float q) { j = Reshape(x, b) q = ReduceSum<keepdims = 0>(j) }
            >
        }""",
        shapes={"x": (8,)},
    )
    assert [region.kind for region in compiled.plan.regions] == [RegionKind.REQUIRED]
    compiled.check(c=False, x=values(8))
    with pytest.raises(AssertionError, match="an impossible branch"):
        compiled.runner.run({"c": np.array(True), "x": values(8)})
    with pytest.raises(EdgecompError) as error:
        load_model(compiled.proto, inputs={})
    assert error.value.code is Code.DIMENSION_FREE
