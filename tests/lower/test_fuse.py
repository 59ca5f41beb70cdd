import numpy as np
import pytest
from helpers.programs import describe, program_of

from edgecomp.lower.fuse import fuse
from edgecomp.plan.elementwise import Elementwise
from edgecomp.plan.finish import Scale
from edgecomp.plan.products import Convolution, MatrixMultiply

HEAD = '<ir_version: 10, opset_import: ["" : 21]>'
RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((4, 4, 3, 3)).astype(np.float32)
BIAS = RNG.standard_normal(4).astype(np.float32)


def fused(body, **constants):
    program = program_of(HEAD + body, **constants)
    fuse(program)
    return program


def test_residual_joins_the_later_convolution_then_the_activation(golden):
    program = fused(
        """g (float[1,4,8,8] x) => (float[1,4,8,8] y) {
            a = Conv <pads = [1,1,1,1]> (x, w, b)
            r = Relu(a)
            c = Conv <pads = [1,1,1,1]> (r, w, b)
            s = Add(r, c)
            y = Relu(s)
        }""",
        w=WEIGHT,
        b=BIAS,
    )
    golden(describe(program))


def test_a_value_that_is_also_an_output_is_kept():
    program = fused(
        """g (float[1,4,8,8] x) => (float[1,4,8,8] y, float[1,4,8,8] a) {
            a = Conv <pads = [1,1,1,1]> (x, w, b)
            y = Relu(a)
        }""",
        w=WEIGHT,
        b=BIAS,
    )
    assert [type(o.kind) for o in program.operations] == [Convolution, Elementwise]
    assert program.operations[0].kind.activation is None


def test_x_times_sigmoid_of_x_is_silu():
    program = fused(
        """g (float[1,4,8,8] x) => (float[1,4,8,8] y) {
            a = Conv <pads = [1,1,1,1]> (x, w, b)
            s = Sigmoid(a)
            y = Mul(s, a)
        }""",
        w=WEIGHT,
        b=BIAS,
    )
    (operation,) = program.operations
    assert operation.kind.activation.name == "silu"
    assert len(operation.nodes) >= 2


def test_clip_keeps_its_bounds():
    program = fused(
        """g (float[1,4,8,8] x) => (float[1,4,8,8] y) <float lo = {-1.0}, float hi = {6.0}> {
            a = Conv <pads = [1,1,1,1]> (x, w, b)
            y = Clip(a, lo, hi)
        }""",
        w=WEIGHT,
        b=BIAS,
    )
    activation = program.operations[0].kind.activation
    assert (activation.name, activation.alpha, activation.beta) == ("clip", -1.0, 6.0)


def test_bias_after_a_product():
    weight = RNG.standard_normal((5, 4)).astype(np.float32)
    program = fused(
        """g (float[2,3,5] x) => (float[2,3,4] y) {
            p = MatMul(x, w)
            y = Add(p, b)
        }""",
        w=weight,
        b=BIAS,
    )
    (operation,) = program.operations
    assert isinstance(operation.kind, MatrixMultiply)
    np.testing.assert_array_equal(operation.inputs[2].constant, BIAS)


@pytest.mark.parametrize("shape", [(3, 1), (2, 3, 4)])
def test_an_addend_that_is_no_bias_is_refused(shape):
    weight = RNG.standard_normal((5, 4)).astype(np.float32)
    program = fused(
        """g (float[2,3,5] x) => (float[2,3,4] y) {
            p = MatMul(x, w)
            y = Add(p, b)
        }""",
        w=weight,
        b=np.ones(shape, np.float32),
    )
    assert [type(o.kind) for o in program.operations] == [MatrixMultiply, Elementwise]


def test_elementwise_steps_join_into_one_chain(golden):
    program = fused(
        """g (float[2,8] x, float[2,8] z) => (float[2,8] y) {
            a = Exp(x)
            b = Add(a, z)
            c = Mul(b, a)
            y = Neg(c)
        }"""
    )
    assert len(program.operations) == 1
    golden(describe(program))


def test_a_chain_stops_where_shapes_differ():
    program = fused(
        """g (float[1,8] x, float[2,8] z) => (float[2,8] y) {
            a = Exp(x)
            y = Add(a, z)
        }"""
    )
    assert len(program.operations) == 2


@pytest.mark.parametrize("last", ["y = Add(m, r)", "s = Add(r, m) y = Gelu(s)"])
def test_float_results_of_integers_take_residual_and_activation(last):
    program = fused(
        f"""g (uint8[5,4] x, float[5,4] r) => (float[5,4] y) {{
            f = DequantizeLinear(x, scale, zero)
            v = DequantizeLinear(w, scale)
            m = MatMul(f, v)
            {last}
        }}""",
        w=RNG.integers(-127, 128, (4, 4)).astype(np.int8),
        scale=np.float32(0.5),
        zero=np.uint8(7),
    )
    _, product = program.operations  # the first lets x be stored as the target takes it
    assert isinstance(product.kind.finish, Scale)
    assert product.kind.residual
    assert (product.kind.activation is not None) == ("Gelu" in last)
    assert product.inputs[-1].name == "r"
