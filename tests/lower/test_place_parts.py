import numpy as np
from helpers.programs import describe, program_of

from edgecomp.lower.fuse import fuse
from edgecomp.lower.layout import assign_layout
from edgecomp.plan.movement import FillHalo, StridedCopy
from edgecomp.plan.values import Order

HEAD = '<ir_version: 10, opset_import: ["" : 21]>'
RNG = np.random.default_rng(0)


def weight(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def laid_out(body, **constants):
    program = program_of(HEAD + body, **constants)
    fuse(program)
    assign_layout(program)
    return program


def copies(program):
    return [o for o in program.operations if isinstance(o.kind, StridedCopy)]


def value_of(program, name):
    values = {v.name: v for o in program.operations for v in (*o.inputs, *o.outputs)}
    return values[name]


CONCAT = """g (float[1,3,8,8] x) => (float[1,5,8,8] y) {
    a = Conv <pads = [1,1,1,1]> (x, w)
    b = Conv <pads = [1,1,1,1]> (x, v)
    c = Concat <axis = 1> (a, b)
    y = Conv <pads = [1,1,1,1]> (c, u)
}"""


def test_convolutions_write_their_parts():
    w, v, u = weight(4, 3, 3, 3), weight(6, 3, 3, 3), weight(5, 10, 3, 3)
    program = laid_out(CONCAT, w=w, v=v, u=u)
    a, b, whole = (value_of(program, name) for name in "abc")
    assert a.part_of is whole
    assert b.part_of is whole
    assert (a.first_channel, b.first_channel) == (0, 4)
    assert b.view.strides == whole.view.strides
    assert b.view.offset == whole.view.offset + 4
    # What is left converts the model's input and output.
    assert len(copies(program)) == 2
    fills = [o.output for o in program.operations if isinstance(o.kind, FillHalo)]
    assert fills.count(whole) == 1
    first_write = next(o for o in program.operations if a in o.outputs)
    fill = next(o for o in program.operations if o.outputs == [whole])
    assert program.operations.index(fill) < program.operations.index(first_write)


def test_a_chain_of_concatenations_is_one_image():
    program = laid_out(
        """g (float[1,3,8,8] x) => (float[1,5,8,8] y) {
            a = Conv (x, w)
            b = Conv (a, v)
            c = Concat <axis = 1> (a, b)
            d = Conv (c, u)
            e = Concat <axis = 1> (c, d)
            y = Conv (e, t)
        }""",
        w=weight(4, 3, 1, 1),
        v=weight(6, 4, 1, 1),
        u=weight(2, 10, 1, 1),
        t=weight(5, 12, 1, 1),
    )
    b, c, d, e = (value_of(program, name) for name in "bcde")
    assert (b.part_of, c.part_of, d.part_of) == (c, e, e)
    assert b.view.strides[3] == 12
    assert d.view.offset == 10


def test_a_slice_of_channels_is_read_in_place():
    program = laid_out(
        """g (float[1,3,8,8] x) => (float[1,5,8,8] y) {
            a = Conv (x, w)
            l, r = Split <axis = 1, num_outputs = 2> (a)
            m = Conv (r, v)
            s = Conv (l, v)
            y = Add(m, s)
        }""",
        w=weight(8, 3, 1, 1),
        v=weight(5, 4, 1, 1),
    )
    a, r = value_of(program, "a"), value_of(program, "r")
    assert r.part_of is a
    assert r.view.offset == 4
    assert len(copies(program)) == 2


def test_halos_of_other_values_keep_the_copy():
    program = laid_out(
        """g (float[1,3,8,8] x) => (float[1,9,8,8] y) {
            a = Conv (x, w)
            p = MaxPool <kernel_shape = [3,3], pads = [1,1,1,1]> (a)
            b = Conv (p, v)
            c = Concat <axis = 1> (a, b)
            y = Conv <pads = [1,1,1,1]> (c, u)
        }""",
        w=weight(4, 3, 1, 1),
        v=weight(6, 4, 1, 1),
        u=weight(9, 10, 3, 3),
    )
    a, b = value_of(program, "a"), value_of(program, "b")
    assert a.part_of is None
    assert b.part_of is value_of(program, "c")


def test_short_runs_of_elementwise_operations_keep_the_copy():
    body = """g (float[1,3,8,8] x) => (float[1,5,8,8] y) {{
        a = Conv (x, w)
        b = Exp(a)
        c = Concat <axis = 1> (a, b)
        y = Conv (c, u)
    }}"""
    for channels, part in ((4, False), (32, True)):
        constants = {"w": weight(channels, 3, 1, 1), "u": weight(5, 2 * channels, 1, 1)}
        program = laid_out(body.format(), **constants)
        assert (value_of(program, "b").part_of is not None) is part


def test_what_the_user_reads_is_no_part():
    program = laid_out(
        """g (float[1,3,8,8] x) => (float[1,4,8,8] a, float[1,5,8,8] y) {
            a = Conv (x, w)
            b = Conv (a, v)
            c = Concat <axis = 1> (a, b)
            y = Conv (c, u)
        }""",
        w=weight(4, 3, 1, 1),
        v=weight(6, 4, 1, 1),
        u=weight(5, 10, 1, 1),
    )
    assert all(value.part_of is None for value in program.outputs)


def test_transposes_to_channels_last_move_nothing():
    program = laid_out(
        """g (float[1,3,8,8] x) => (float[1,5,8,8] y) {
            a = Conv (x, w)
            t = Transpose <perm = [0,2,3,1]> (a)
            m = MatMul(t, n)
            u = Transpose <perm = [0,3,1,2]> (m)
            y = Conv (u, v)
        }""",
        w=weight(6, 3, 1, 1),
        n=weight(6, 7),
        v=weight(5, 7, 1, 1),
    )
    assert len(copies(program)) == 2, describe(program)


def test_a_shuffle_is_one_copy():
    program = laid_out(
        """g (float[1,3,8,8] x) => (float[1,5,8,8] y) {
            a = Conv (x, w)
            r = Reshape(a, s)
            t = Transpose <perm = [0,2,1,3,4]> (r)
            b = Reshape(t, z)
            y = Conv (b, v)
        }""",
        w=weight(6, 3, 1, 1),
        v=weight(5, 6, 1, 1),
        s=np.array([1, 2, 3, 8, 8]),
        z=np.array([1, 6, 8, 8]),
    )
    (shuffle,) = (o for o in copies(program) if o.kind.in_shape)
    assert shuffle.kind.in_shape == (1, 2, 3, 8, 8)
    assert shuffle.kind.out_shape == (1, 3, 2, 8, 8)
    assert {v.order for v in (*shuffle.inputs, *shuffle.outputs)} == {Order.NHWC}
    assert len(copies(program)) == 3
