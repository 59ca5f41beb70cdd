"""Metal of kernels: what it says is what was written. Needs no device and no compiler."""

import re

import pytest

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import constant, load
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.vectors import load_vector, store_vector
from edgecomp.schedules.shader.metal import (
    _MetalWriter,
    metal_source,
    metal_text,
    stored_parameters,
)
from edgecomp.schedules.text.language import NoTextError


def small(value, dtype="float32"):
    """A kernel that stores a value."""
    builder = GridBuilder((1, 1, 1), (1, 1, 1))
    y = builder.pointer("y", dtype, 4)
    builder.store(y, 0, value(builder))
    return builder.finish("kernel")


def test_head():
    builder = GridBuilder((3, 2, 1), (8, 4, 1))
    x, y = (builder.pointer(name, "float32", 4096) for name in "xy")
    store_vector(builder, y, builder.place(0) * 4, load_vector(x, builder.place(1), 4), 4)
    kernel = builder.finish("kernel")
    text = metal_text(kernel)
    assert re.match(
        r"\[\[kernel, max_total_threads_per_threadgroup\(32\)\]\] void ec_gpu_kernel_\w+\(\n"
        r"    device const float \*x_ \[\[buffer\(0\)\]\],\n"
        r"    device float \*y_ \[\[buffer\(1\)\]\],\n"
        r"    uint3 group_id \[\[threadgroup_position_in_grid\]\],\n"
        r"    uint3 item_id \[\[thread_position_in_threadgroup\]\]\) \{\n",
        text,
    )
    # Aligned where the index is a multiple of four, else packed.
    assert "float4(*(device const packed_float4 *)(x_ + " in text
    assert "*(device float4 *)(y_ + " in text
    assert stored_parameters(kernel) == (False, True)


@pytest.mark.parametrize(
    ("number", "dtype", "written"),
    [
        (0.1, "float32", "0.100000001f"),
        (-1.5, "float32", "(-1.5f)"),
        (float("-inf"), "float32", "as_type<float>(0xff800000u)"),
        (-(2**31), "int32", "(-2147483647 - 1)"),
        (-3, "int8", "char((-3))"),
        (5_000_000_000, "int64", "5000000000l"),
    ],
)
def test_numbers(number, dtype, written):
    assert f"= {written};" in metal_text(small(lambda _: constant(number, dtype), dtype))


def test_shared_arrays_and_barriers():
    builder = GridBuilder((1, 1, 1), (4, 1, 1))
    y = builder.pointer("y", "float32", 4)
    shared = builder.shared_array("shared", "float32", 4)
    builder.store(shared, builder.item(0), constant(1.0, "float32"))
    builder.barrier()
    builder.store(y, builder.item(0), load(shared, builder.item(0)))
    text = metal_text(builder.finish("kernel"))
    assert "threadgroup float shared_[4];" in text
    assert "threadgroup_barrier(mem_flags::mem_threadgroup);" in text


def test_rounding_by_a_large_number_survives_compilers_that_reorder_sums():
    shift = constant(2.0**23, "float32")

    def value(builder):
        total = builder.let(
            "total", load(builder.pointer("x", "float32", 1), 0) + shift, "float32"
        )
        hidden = tirx.reinterpret("float32", tirx.reinterpret("int32", total))
        return hidden - shift

    text = metal_text(small(value))
    assert "= float((as_type<int>(total_) - 1258291200));" in text


def test_what_has_no_text_is_refused():
    with pytest.raises(NoTextError, match="type float64"):
        metal_text(small(lambda _: constant(1.0, "float64"), "float64"))
    with pytest.raises(NoTextError, match="function erf"):
        metal_text(small(lambda _: tirx.erf(constant(1.0, "float32"))))


def test_each_kernel_is_written_once():
    one, other = (small(lambda _, n=n: constant(n, "float32")) for n in (1.0, 2.0))
    assert metal_source([one, one, other]).count("[[kernel") == 2


def test_a_kernel_is_written_once(monkeypatch):
    """By matching; the source and the parameters' use are of the same text."""
    begun, plain = [], _MetalWriter.head

    def head(self, parameters):
        begun.append(self.symbol)
        return plain(self, parameters)

    monkeypatch.setattr(_MetalWriter, "head", head)
    first, again = (small(lambda _: constant(0.123, "float32")) for _ in range(2))
    assert first is not again
    text = metal_text(first)
    assert text in metal_source([again])
    assert stored_parameters(again).count(True) == 1
    assert len(begun) == 1
