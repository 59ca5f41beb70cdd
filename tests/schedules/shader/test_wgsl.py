"""WGSL of kernels: what it says is what was written. Needs no device."""

import numpy as np
import pytest
from helpers.webgpu import run_webgpu_calls

from edgecomp.plan.values import Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import constant, load
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.vectors import load_vector, store_vector
from edgecomp.schedules.schedule import KernelCall
from edgecomp.schedules.shader.wgsl import Use, wgsl_source, wgsl_text
from edgecomp.schedules.text.language import NoTextError


def copied(index_of, dtype, lanes=4):
    """A kernel that copies vectors from and to places."""
    builder = GridBuilder((3, 2, 1), (8, 4, 1))
    x, y = (builder.pointer(name, dtype, 4096) for name in "xy")
    index = index_of(builder)
    store_vector(builder, y, index, load_vector(x, index, lanes), lanes)
    return builder.finish("kernel")


def small(value, dtype="float32"):
    builder = GridBuilder((1, 1, 1), (1, 1, 1))
    y = builder.pointer("y", dtype, 4)
    builder.store(y, 0, value(builder))
    return wgsl_text(builder.finish("kernel"))


@pytest.mark.parametrize(
    ("dtype", "step", "declared"),
    [
        ("float32", 4, "array<vec4<f32>>"),
        ("float32", 3, "array<f32>"),
        ("uint8", 4, "array<u32>"),
        ("int8", 3, "array<atomic<u32>>"),
    ],
)
def test_memory_is_declared_by_how_it_is_used(dtype, step, declared):
    text = wgsl_text(copied(lambda b: b.place(0) * step, dtype))
    assert f": {declared};" in text.split("fn ")[0].splitlines()[1]
    assert "@workgroup_size(8, 4, 1)" in text


@pytest.mark.parametrize(
    ("number", "dtype", "written"),
    [
        (0.1, "float32", "0.100000001f"),
        (-1.5, "float32", "(-1.5f)"),
        (float("-inf"), "float32", "ec_float(0xff800000u)"),
        (-(2**31), "int32", "i32(-2147483648)"),
        (-2, "int64", "vec2<u32>(4294967294u, 4294967295u)"),
    ],
)
def test_numbers(number, dtype, written):
    assert f"= {written};" in small(lambda _: constant(number, dtype), dtype)


def test_small_integers_wrap_as_their_own():
    text = small(
        lambda b: tirx.Cast(
            "int32", load(b.pointer("x", "uint8", 4), 0) + tirx.const(1, "uint8")
        ),
        "int32",
    )
    assert "i32(extractBits((" in text
    assert "+ 1u), 0u, 8u))" in text


def test_parameters_that_are_one_tensor_share_a_binding():
    kernel = copied(lambda b: b.place(0) * 4, "float32")
    text = wgsl_text(kernel, Use("entry", kernel.symbol, (0, 0)))
    assert text.count("@binding") == 1
    assert "fn entry(" in text
    read = wgsl_text(kernel, Use("entry", kernel.symbol, (0, 1), (0,)))
    assert "@binding(0) var<storage, read> " in read
    assert "@binding(1) var<storage, read_write> " in read


def test_bindings_that_are_not_used_are_named():
    builder = GridBuilder((1, 1, 1), (1, 1, 1))
    builder.pointer("x", "float32", 4)
    y = builder.pointer("y", "float32", 4)
    builder.store(y, 0, constant(1.0, "float32"))
    assert "_ = &x_kernel_" in wgsl_text(builder.finish("kernel"))


def test_f16_is_enabled_where_it_is_used():
    kernel = copied(lambda b: b.place(0) * 4, "float16")
    source = wgsl_source([kernel], [Use("entry", kernel.symbol, (0, 1))])
    assert source.startswith("enable f16;\n")
    assert ": array<vec4<f16>>;" in source


def test_what_has_no_text_is_refused():
    with pytest.raises(NoTextError, match="type float64"):
        small(lambda _: constant(1.0, "float64"), "float64")
    with pytest.raises(NoTextError, match="int64 as float32"):
        small(lambda b: tirx.Cast("float32", load(b.pointer("x", "int64", 1), 0)))


def test_products_of_64_bits(rng):
    count = 16
    builder = GridBuilder.line(count, 16)
    a, b, y = (builder.pointer(name, "int64", count) for name in "aby")
    with builder.each(count) as at:
        smaller = tirx.Min(load(a, at), load(b, at))
        builder.store(
            y, at, load(a, at) * load(b, at) - smaller + tirx.Max(load(a, at), load(b, at))
        )
    values = [Value(name, (count,), "int64") for name in "aby"]
    call = KernelCall(builder.finish("kernel"), tuple(values), 1, launch=builder.launch)
    left, right = (rng.integers(-(2**40), 2**40, count) for _ in range(2))
    found = run_webgpu_calls([call], {values[0]: left, values[1]: right})[values[2]]
    with np.errstate(over="ignore"):
        want = left * right - np.minimum(left, right) + np.maximum(left, right)
    np.testing.assert_array_equal(found, want)


def test_arithmetic_of_16_bits(rng):
    """float16 as a device computes it: each operation rounded."""
    from helpers.webgpu import has_f16

    if not has_f16():
        pytest.skip("the device has no shader-f16")
    count = 64
    builder = GridBuilder.line(count // 4, 16)
    a, b, y = (builder.pointer(name, "float16", count) for name in "aby")
    with builder.each(count // 4) as at:
        left, right = (load_vector(x, at * 4, 4) for x in (a, b))
        store_vector(builder, y, at * 4, left * right + left, 4)
    values = [Value(name, (count,), "float16") for name in "aby"]
    call = KernelCall(builder.finish("kernel"), tuple(values), 1, launch=builder.launch)
    left, right = (rng.standard_normal(count).astype(np.float16) for _ in range(2))
    found = run_webgpu_calls([call], {values[0]: left, values[1]: right})[values[2]]
    want = left.astype(np.float64) * right + left
    np.testing.assert_allclose(found, want, rtol=2e-3, atol=2e-3)
