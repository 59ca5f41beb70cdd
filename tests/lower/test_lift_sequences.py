import numpy as np
from helpers.programs import program_of

from edgecomp.lower.fuse import fuse
from edgecomp.plan.elementwise import Elementwise
from edgecomp.plan.movement import Reinterpret
from edgecomp.plan.products import Convolution

HEAD = '<ir_version: 10, opset_import: ["" : 21]>'
RNG = np.random.default_rng(0)


def fused(body, **constants):
    program = program_of(HEAD + body, **constants)
    fuse(program)
    return program


def kinds(program):
    return [type(o.kind) for o in program.operations]


def test_activations_and_residuals_join_one_dimensional_convolutions():
    weight = RNG.standard_normal((4, 4, 3)).astype(np.float32)
    program = fused(
        """g (float[1,4,9] x) => (float[1,4,9] y) {
            a = Conv <pads = [1,1]> (x, w)
            r = Relu(a)
            c = Conv <pads = [1,1]> (r, w)
            s = Add(r, c)
            y = Relu(s)
        }""",
        w=weight,
    )
    assert kinds(program) == [Reinterpret, Convolution, Convolution, Reinterpret]
    first, second = (o for o in program.operations if isinstance(o.kind, Convolution))
    assert first.kind.activation.name == "relu"
    assert second.kind.residual
    assert second.inputs[0] is first.output


def test_constants_get_a_height():
    program = fused(
        """g (float[1,4,9] x) => (float[1,4,9] y) {
            a = Conv (x, w)
            p = PRelu(a, c)
            y = Mul(p, r)
        }""",
        w=RNG.standard_normal((4, 4, 1)).astype(np.float32),
        c=RNG.standard_normal((4, 1)).astype(np.float32),
        r=RNG.standard_normal(9).astype(np.float32),
    )
    (chain,) = (o for o in program.operations if isinstance(o.kind, Elementwise))
    assert chain.output.shape == (1, 4, 1, 9)
    assert [value.shape for value in chain.inputs[1:]] == [(4, 1, 1), (9,)]


def test_what_meets_another_sequence_stays():
    program = fused(
        """g (float[1,4,9] x, float[1,4,9] z) => (float[1,4,9] y) {
            a = Conv (x, w)
            y = Sub(a, z)
        }""",
        w=RNG.standard_normal((4, 4, 1)).astype(np.float32),
    )
    (chain,) = (o for o in program.operations if isinstance(o.kind, Elementwise))
    assert chain.output.shape == (1, 4, 9)
