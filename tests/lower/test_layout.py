import numpy as np
from helpers.programs import describe, program_of

from edgecomp.lower.fuse import fuse
from edgecomp.lower.layout import assign_layout
from edgecomp.plan.movement import FillHalo, Reinterpret, StridedCopy
from edgecomp.plan.values import Order

HEAD = '<ir_version: 10, opset_import: ["" : 21]>'
RNG = np.random.default_rng(0)


def laid_out(body, **constants):
    program = program_of(HEAD + body, **constants)
    fuse(program)
    assign_layout(program)
    return program


def weight(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def test_images_are_nhwc_with_the_widest_halo_of_their_readers(golden):
    program = laid_out(
        """g (float[1,3,9,9] x) => (float[1,8,9,9] y) {
            a = Conv (x, w1)
            b = Conv <pads = [1,1,1,1]> (a, w3)
            c = Conv <pads = [2,2,2,2]> (a, w5)
            y = Add(b, c)
        }""",
        w1=weight(4, 3, 1, 1),
        w3=weight(8, 4, 3, 3),
        w5=weight(8, 4, 5, 5),
    )
    golden(describe(program))


def test_two_paddings_of_one_value_get_a_copy_each():
    program = laid_out(
        """g (float[1,4,9,9] x) => (float[1,4,9,9] y, float[1,4,9,9] z) {
            a = Conv (x, w1)
            y = Conv <pads = [1,1,1,1]> (a, w3)
            z = MaxPool <kernel_shape = [3,3], pads = [1,1,1,1]> (a)
        }""",
        w1=weight(4, 4, 1, 1),
        w3=weight(4, 4, 3, 3),
    )
    fills = [o.kind.value for o in program.operations if isinstance(o.kind, FillHalo)]
    assert sorted(fills) == [-np.inf, 0.0]


def test_one_pixel_images_change_order_without_a_copy():
    program = laid_out(
        """g (float[1,4,9,9] x) => (float[1,5] y) {
            a = Conv (x, w1)
            p = GlobalAveragePool(a)
            f = Flatten(p)
            y = MatMul(f, m)
        }""",
        w1=weight(8, 4, 1, 1),
        m=weight(8, 5),
    )
    copies = [o for o in program.operations if isinstance(o.kind, StridedCopy)]
    assert len(copies) == 1  # the graph input to NHWC
    assert any(isinstance(o.kind, Reinterpret) for o in program.operations)


def test_a_reader_of_row_major_values_gets_one_copy():
    program = laid_out(
        """g (float[1,4,6,6] x) => (float[1,8,36] y, float[1,36,8] z) <int64[3] s = {1,8,36}> {
            a = Conv (x, w1)
            r = Reshape(a, s)
            y = Exp(r)
            z = Transpose <perm = [0,2,1]> (r)
        }""",
        w1=weight(8, 4, 1, 1),
    )
    copies = [o for o in program.operations if isinstance(o.kind, StridedCopy)]
    assert len(copies) == 3  # input to NHWC, back to row-major, the transpose


def test_outputs_are_row_major_values_of_their_own():
    program = laid_out(
        """g (float[1,4,6,6] x) => (float[1,8,6,6] y, float[1,4,36] v) <int64[3] s = {1,4,36}> {
            y = Conv (x, w1)
            v = Reshape(x, s)
        }""",
        w1=weight(8, 4, 1, 1),
    )
    assert all(value.order is Order.ROW_MAJOR for value in program.outputs)
    producers = [o for o in program.operations if set(o.outputs) & set(program.outputs)]
    assert all(isinstance(o.kind, StridedCopy) for o in producers)
