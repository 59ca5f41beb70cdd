"""CUDA C of kernels: what it says is what was written. Needs no device and no compiler."""

import re

import pytest

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import constant, load
from edgecomp.schedules.cuda.text import _CudaWriter, cuda_source, kernel_text, prelude
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.vectors import load_vector, store_vector
from edgecomp.schedules.text.expressions import FUNCTIONS
from edgecomp.schedules.text.language import NoTextError


def small(value, dtype="float32"):
    """Text of a kernel that stores a value."""
    builder = GridBuilder((1, 1, 1), (1, 1, 1))
    y = builder.pointer("y", dtype, 4)
    builder.store(y, 0, value(builder))
    return kernel_text(builder.finish("kernel"))


def copied(index_of):
    """Text of a kernel that copies vectors from and to places."""
    builder = GridBuilder((3, 2, 1), (8, 4, 1))
    x, y = (builder.pointer(name, "float32", 4096) for name in "xy")
    index = index_of(builder)
    store_vector(builder, y, index, load_vector(x, index, 4), 4)
    return kernel_text(builder.finish("kernel"))


def test_head():
    text = copied(lambda builder: builder.place(0) * 4)
    assert re.match(
        r'extern "C" __global__ void __launch_bounds__\(32\) ec_gpu_kernel_\w+\('
        r"const float\* __restrict__ x_, float\* __restrict__ y_\)",
        text,
    )
    assert "blockIdx.x) * 8) + static_cast<int>(threadIdx.x)" in text


@pytest.mark.parametrize(
    ("index_of", "is_aligned"),
    [
        (lambda b: b.place(0) * 4, True),
        (lambda b: b.let("at", b.place(0) * 8 + 12), True),
        (lambda b: b.let("at", tirx.Min(b.place(0) * 4, tirx.const(8, "int32"))), True),
        (lambda b: b.let("at", b.let("two", b.place(0) * 2) * 2 - 4), True),
        (lambda b: b.place(0) * 4 + b.item(1), False),
        (lambda b: b.place(0) * 6, False),
        (lambda b: tirx.truncdiv(b.place(0) * 4, 4), False),
    ],
)
def test_vectors_move_at_once_where_they_are_aligned(index_of, is_aligned):
    text = copied(index_of)
    assert ("ec::load_aligned<4>(" in text) is is_aligned
    assert ("ec::store_aligned<4>(" in text) is is_aligned


@pytest.mark.parametrize(
    ("number", "written"),
    [(0.5, "0.5f"), (0.1, "0.100000001f"), (1 / 3, "0.333333343f"), (1e30, "1.00000002e+30f"),
     (2.0, "2.0f"), (-1.5, "(-1.5f)"), (-0.0, "(-0.0f)"),
     (float("-inf"), "ec::bits<float>(0xff800000u)")],
)  # fmt: skip
def test_floats_are_exact(number, written):
    assert f"= {written};" in small(lambda _: constant(number, "float32"))


def test_integers():
    assert "(-2147483647 - 1)" in small(lambda _: constant(-(2**31), "int32"), "int32")
    assert "static_cast<signed char>((-3))" in small(lambda _: constant(-3, "int8"), "int8")
    assert "5000000000ll" in small(lambda _: constant(5_000_000_000, "int64"), "int64")


def test_small_types_wrap_as_their_own():
    text = small(
        lambda b: load(b.pointer("x", "uint8", 4), 0) + tirx.const(1, "uint8"), "uint8"
    )
    assert "static_cast<unsigned char>((x_[0] + static_cast<unsigned char>(1)))" in text


def test_operands_are_made_alike():
    text = small(lambda b: load(b.pointer("x", "int32", 4), 0) * constant(2.0, "float32"))
    assert "(ec::convert<float>(x_[0]) * 2.0f)" in text


def test_names_are_told_apart():
    def value(builder):
        x = builder.pointer("x", "float32", 4)
        first = builder.let("x", load(x, 0), "float32")
        return builder.let("x", first + load(x, 1), "float32") + builder.let("int", 1)

    text = small(value)
    names = re.findall(r"const \w+ (\w+) =", text)
    assert len(set(names)) == 3
    assert "x_" not in names
    assert "int" not in names


def test_vectors_of_scalars():
    def value(builder):
        x = builder.let("x", load_vector(builder.pointer("x", "int32", 4), 0, 4), "int32x4")
        return tirx.Shuffle([tirx.Shuffle([x], [k]) for k in (3, 0)], [1, 0])

    assert "= ec::vec<int, 2>{{x_n1_.v[0], x_n1_.v[3]}};" in small(value, "int32x2")


def test_shared_arrays_and_barriers():
    builder = GridBuilder((1, 1, 1), (4, 1, 1))
    y = builder.pointer("y", "float32", 16)
    own = builder.array("own", "float32x4", 2)
    shared = builder.shared_array("shared", "float32", 4)
    builder.store(own, tirx.const(1, "int32"), constant(2.0, "float32", 4))
    builder.store(shared, builder.item(0), constant(1.0, "float32"))
    builder.barrier()
    store_vector(builder, y, builder.item(0) * 4, load(own, tirx.const(1, "int32")), 4)
    text = kernel_text(builder.finish("kernel"))
    assert "ec::vec<float, 4> own_[2];" in text
    assert "__shared__ float shared_[4];" in text
    assert "__syncthreads();" in text


def test_calls_are_the_preludes():
    for name in _CudaWriter.calls - FUNCTIONS:
        assert re.search(rf"\b{name}\b", prelude()), name


def test_each_kernel_is_written_once():
    def built(number):
        builder = GridBuilder((1, 1, 1), (1, 1, 1))
        builder.store(builder.pointer("y", "float32", 1), 0, constant(number, "float32"))
        return builder.finish("kernel")

    assert cuda_source([built(1.0), built(1.0), built(2.0)]).count('extern "C"') == 2


def test_what_has_no_text_is_refused():
    with pytest.raises(NoTextError, match="function frexp"):
        small(lambda _: tirx.call_pure_extern("float32", "frexp", constant(1.0, "float32")))
