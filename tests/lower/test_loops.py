"""Loop and Scan that are not written out, and those that are, against onnxruntime."""

import hypothesis
import numpy as np
import pytest
from helpers.branching import Compiled, parse
from hypothesis import strategies as st

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.load import load_model
from edgecomp.lower.arena import alive_through


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


TWO_STATES = """g (int64 n, bool c, float[3,5] x, float[5] s) => (float[3,5] y, float[5] q)
    <int64[1] ax = {0}> {
    w = Cos(x)
    y, q = Loop (n, c, x, s) <
      body = b (int64 i, bool ci, float[3,5] v, float[5] u) => (bool co, float[3,5] v2, float[5] u2) {
        co = Identity(ci)
        f = Cast<to = 1>(i)
        t = Mul(v, u)
        k = Add(t, f)
        v2 = Add(k, w)
        r = ReduceMean<keepdims = 0>(v, ax)
        u2 = Tanh(r)
      }
    >
}"""


def test_trip_counts_and_first_conditions():
    compiled = Compiled(TWO_STATES)
    for n in (0, 1, 2, 7, -3):
        for c in (True, False):
            compiled.check(n=n, c=c, x=values(3, 5), s=values(5, seed=1))


def test_early_exit_by_what_is_computed():
    compiled = Compiled(
        """g (int64 n, float[4] x, float m) => (float[4] y, int64 rounds)
           <int64[1] ax = {0}, bool yes = {1}, int64 zero = {0}, int64 one = {1}> {
            y, rounds = Loop (n, yes, x, zero) <
              body = b (int64 i, bool ci, float[4] v, int64 k) => (bool co, float[4] v2, int64 k2) {
                v2 = Add(v, v)
                a = Abs(v2)
                s = ReduceSum<keepdims = 0>(a, ax)
                co = Less(s, m)
                k2 = Add(k, one)
              }
            >
        }"""
    )
    for m in (0.0, 1.0, 50.0, 1e4, 1e30):
        compiled.check(n=12, x=values(4), m=np.float32(m))


def test_no_trip_count():
    compiled = Compiled(
        """g (bool c, int64 x, int64 m) => (int64 y) <int64 two = {2}> {
            y = Loop ( , c, x) <
              body = b (int64 i, bool ci, int64 v) => (bool co, int64 v2) {
                v2 = Mul(v, two)
                co = Less(v2, m)
              }
            >
        }"""
    )
    for m in (0, 3, 1000):
        for c in (True, False):
            compiled.check(c=c, x=1, m=m)


def test_values_that_change_places_or_stay():
    compiled = Compiled(
        """g (int64 n, float[3] a, float[3] b, float[3] k) => (float[3] p, float[3] q, float[3] r)
           <bool yes = {1}> {
            p, q, r = Loop (n, yes, a, b, k) <
              body = l (int64 i, bool ci, float[3] u, float[3] v, float[3] w)
                  => (bool co, float[3] u2, float[3] v2, float[3] w2) {
                co = Identity(ci)
                u2 = Identity(v)
                v2 = Identity(u)
                w2 = Identity(w)
              }
            >
        }"""
    )
    for n in (0, 1, 2, 5):
        compiled.check(n=n, a=values(3), b=values(3, seed=1), k=values(3, seed=2))


def test_loops_and_branches_inside_each_other():
    compiled = Compiled(
        """g (int64 n, int64 m, float[2,3] x) => (float[2,3] y)
           <bool yes = {1}, int64 two = {2}, int64 zero = {0}, float half = {0.5}> {
            z = Exp(x)
            y = Loop (n, yes, x) <
              body = l (int64 i, bool ci, float[2,3] v) => (bool co, float[2,3] v2) {
                co = Identity(ci)
                h = Mul(v, half)
                w = Loop (m, yes, h) <
                  body = k (int64 j, bool cj, float[2,3] u) => (bool cp, float[2,3] u2) {
                    cp = Identity(cj)
                    s = Add(i, j)
                    odd = Mod(s, two)
                    e = Equal(odd, zero)
                    u2 = If (e) <
                      then_branch = t () => (float[2,3] a) { a = Add(u, z) },
                      else_branch = f () => (float[2,3] d) { g1 = Sub(u, h) d = Tanh(g1) }
                    >
                  }
                >
                v2 = Sub(w, h)
              }
            >
        }"""
    )
    for n, m in ((0, 3), (3, 0), (1, 1), (3, 4)):
        compiled.check(n=n, m=m, x=values(2, 3))


def test_an_outer_value_that_is_first_read_in_the_last_round_of_a_long_body():
    """Memory of what a loop reads is not given to what the loop makes."""
    compiled = Compiled(
        """g (int64 n, float[64] x) => (float[64] y) <bool yes = {1}> {
            k = Exp(x)
            o = Sin(x)
            y = Loop (n, yes, x) <
              body = l (int64 i, bool ci, float[64] v) => (bool co, float[64] v2) {
                co = Identity(ci)
                a = Softmax<axis = 0>(v)
                p = Mul(a, k)
                b = Softmax<axis = 0>(p)
                d = Softmax<axis = 0>(b)
                e = Mul(d, o)
                v2 = Softmax<axis = 0>(e)
              }
            >
        }"""
    )
    for n in (1, 2, 5):
        compiled.check(n=n, x=values(64))


@hypothesis.settings(max_examples=10, deadline=None)
@hypothesis.given(
    st.integers(0, 5),
    st.lists(st.integers(1, 7), min_size=1, max_size=3),
    st.integers(0, 2),
    st.integers(0, 3),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_scans(length, part, in_axis, out_axis, reverse_in, reverse_out, unrolled):
    in_axis, out_axis = min(in_axis, len(part)), min(out_axis, len(part))
    whole = [*part[:in_axis], length, *part[in_axis:]]
    joined = [*part[:out_axis], length, *part[out_axis:]]
    shape, x, y = (",".join(map(str, each)) for each in (part, whole, joined))
    compiled = Compiled(
        f"""g (float[{x}] x, float[{shape}] s, float[{length},{shape}] k)
            => (float[{shape}] last, float[{y}] y, float[{length},{shape}] z) {{
            e = Exp(s)
            last, y, z = Scan <
              num_scan_inputs = 2, scan_input_axes = [{in_axis}, 0],
              scan_input_directions = [{int(reverse_in)}, 0],
              scan_output_axes = [{out_axis}, 0],
              scan_output_directions = [0, {int(reverse_out)}],
              body = b (float[{shape}] v, float[{shape}] p, float[{shape}] q)
                  => (float[{shape}] v2, float[{shape}] r, float[{shape}] t) {{
                t = Mul(q, v)
                u = Add(t, p)
                v2 = Tanh(u)
                r = Sub(e, v2)
              }}
            > (s, x, k)
        }}""",
        most_unrolled=10**6 if unrolled else 0,
        shapes={"x": tuple(whole), "s": tuple(part), "k": (length, *part)},
    )
    feeds = {
        "x": values(*whole),
        "s": values(*part, seed=1),
        "k": values(length, *part, seed=2),
    }
    if length:
        compiled.check(**feeds)
    else:  # onnxruntime divides by the length
        found = compiled.runner.run({p.name: feeds[p.name] for p in compiled.plan.inputs})
        np.testing.assert_array_equal(found["last"], feeds["s"])
        assert (found["y"].shape, found["z"].shape) == (tuple(joined), (0, *part))
    assert ("Scan" in compiled.operators) == (not unrolled and length > 1)


SCAN_OUTPUT = """g (int64 n, float[3] x) => (float[3] y, float[{rows},3] z) <bool yes = {{1}}> {{
    y, z = Loop (n, yes, x) <
      body = l (int64 i, bool ci, float[3] v) => (bool co, float[3] v2, float[3] r) {{
        co = Identity(ci)
        v2 = Add(v, x)
        r = Neg(v2)
      }}
    >
}}"""


def test_a_declared_size_bounds_the_rounds():
    compiled = Compiled(SCAN_OUTPUT.format(rows=4))
    compiled.check(n=4, x=values(3))
    found = compiled.runner.run({"n": np.array(2), "x": values(3)})
    np.testing.assert_array_equal(found["z"][2:], 0)
    np.testing.assert_allclose(found["z"][1], -3 * values(3), rtol=1e-6)
    with pytest.raises(AssertionError, match="more rounds"):
        compiled.runner.run({"n": np.array(5), "x": values(3)})


def refused(text, **options):
    with pytest.raises(EdgecompError) as error:
        load_model(parse(text), **options)
    return error.value


def test_results_of_unknown_size_are_refused_by_name():
    error = refused(SCAN_OUTPUT.format(rows="n"))
    assert error.code is Code.OPERATOR_UNSUPPORTED
    assert "'z' has no known size" in error.cause
    assert "declare the shape of 'z'" in (error.hint or "")


GROWING = """g ({n} float[2] x) => (float[m] y) <bool yes = {{1}} {constant}> {{
    y = Loop (n, yes, x) <
      body = l (int64 i, bool ci, float[k] v) => (bool co, float[k2] v2) {{
        co = Identity(ci)
        v2 = Concat<axis = 0>(v, x)
      }}
    >
}}"""


def test_what_grows_is_written_out_or_refused():
    error = refused(GROWING.format(n="int64 n,", constant=""))
    assert "another shape after a round of Loop: [2] becomes" in error.cause
    compiled = Compiled(GROWING.format(n="", constant=", int64 n = {3}"))
    assert "Loop" not in compiled.operators
    compiled.check(x=values(2))


def test_a_loop_without_an_end_is_refused():
    text = """g (int64 x) => (int64 y) <bool yes = {1}, int64 two = {2}> {
        y = Loop ( , yes, x) <
          body = b (int64 i, bool ci, int64 v) => (bool co, int64 v2) {
            v2 = Mul(v, two)
            co = Identity(ci)
          }
        >
    }"""
    with pytest.raises(EdgecompError) as error:
        Compiled(text)
    assert "ends" in error.value.cause


def test_lifetimes_over_jumps():
    loops = [(2, 9), (4, 6)]
    assert alive_through(loops, 0, 5) == (0, 9)  # from outside both
    assert alive_through(loops, 3, 5) == (3, 6)  # from outside the inner one
    assert alive_through(loops, 4, 5) == (4, 5)  # within a round
    assert alive_through(loops, 5, 8) == (4, 8)  # out of the inner one
    assert alive_through(loops, 5, 12) == (2, 12)  # out of both
    assert alive_through(loops, 0, 1) == (0, 1)
    assert alive_through(loops, 0, 12) == (0, 12)
    assert alive_through(loops, 10, 12) == (10, 12)
