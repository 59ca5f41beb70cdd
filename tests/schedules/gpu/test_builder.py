"""Text of kernels for a GPU: what OpenCL C says is what was written. Needs no device."""

import re

import pytest

from edgecomp.device.load import load_target
from edgecomp.lower.device_source import opencl_source
from edgecomp.plan.plan import LaunchKind
from edgecomp.plan.sizes import Size, Symbol
from edgecomp.plan.values import Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import constant, load
from edgecomp.schedules.gpu.builder import GridBuilder, line_of_groups
from edgecomp.schedules.gpu.vectors import load_vector, store_vector

GPU = load_target("generic-opencl").gpu


def text_of(builder, name="kernel"):
    return opencl_source([builder.finish(name)], GPU)


def small(value, dtype="float32"):
    """Text of a kernel that stores a value."""
    builder = GridBuilder((1, 1, 1), (1, 1, 1))
    y = builder.pointer("y", dtype, 4)
    builder.store(y, 0, value(builder))
    return text_of(builder)


def test_places():
    builder = GridBuilder((3, 2, 1), (8, 4, 1))
    x = builder.pointer("x", "float32", 64)
    y = builder.pointer("y", "float32", 64)
    at = builder.place(0)
    with builder.condition(at < 20):
        store_vector(builder, y, at * 4, load_vector(x, at * 4 + builder.item(1), 4), 4)
    text = text_of(builder)
    assert re.search(r"__kernel void ec_gpu_kernel_\w+\(__global float\* restrict x, ", text)
    assert "get_group_id(0)" in text
    assert "get_local_id(1)" in text
    assert re.search(r"vload4\(0, .*x \+", text)
    assert "vstore4(" in text
    assert builder.launch.kind is LaunchKind.KERNEL
    assert builder.launch.global_sizes == (24, 8, 1)
    assert builder.launch.local_sizes == (8, 4, 1)


def test_images():
    builder = GridBuilder((1, 1, 1), (4, 1, 1))
    x = builder.pointer("x", "float32", 16)
    read = {dtype: builder.image(f"of_{dtype}", dtype, 8, 2) for dtype in _FUNCTIONS}
    y = builder.pointer("y", "float32", 16)
    item = builder.item(0)
    store_vector(builder, y, item * 4, load_vector(x, item * 4, 4), 4)
    for dtype, image in read.items():
        texel = image.load(item, 1)
        assert str(texel.dtype) == ("float32x4" if "float" in dtype else "int32x4")
        store_vector(builder, y, item * 4, texel.astype("float32x4"), 4)
    text = text_of(builder)
    for dtype, function in _FUNCTIONS.items():
        assert f"__read_only image2d_t of_{dtype}" in text
        assert re.search(rf"{function}\(of_{dtype}, .*get_local_id.*, 1\)", text)
    assert text.count("const sampler_t image_sampler = CLK_NORMALIZED_COORDS_FALSE") == 1
    assert [image.argument for image in builder.launch.images] == [1, 2, 3, 4, 5, 6]
    assert {image.elements for image in builder.launch.images} == {64}


#: Types of elements -> how their texels are read.
_FUNCTIONS = {
    "float32": "EC_TEXEL_F",
    "float16": "EC_TEXEL_F",
    "bfloat16": "EC_TEXEL_U",
    "int8": "EC_TEXEL_I",
    "uint8": "EC_TEXEL_U",
    "int32": "EC_TEXEL_I",
}


@pytest.mark.parametrize(
    ("number", "written"),
    [(0.5, "5.000000e-01f"), (12583038.0, "as_float(1262485630)"), (0.1, "1.000000e-01f"),
     (1 / 3, "as_float(1051372203)"),
     (float("-inf"), "as_float(-8388608)")],
)  # fmt: skip
def test_floats_are_exact(number, written):
    assert written in small(lambda _: constant(number, "float32"))


def test_floats_that_stand_as_operands_are_exact():
    text = small(
        lambda builder: builder.let("x", constant(2.0, "float32"), "float32") * (1 / 3)
    )
    assert "as_float(1051372203)" in text


def test_the_least_integer_is_one():
    text = small(lambda _: constant(-(2**31), "int32"), "int32")
    assert re.search(r"as_int\(.*2147483648", text)
    assert "-2147483648" not in text


def test_bits_by_functions():
    text = small(lambda _: tirx.reinterpret("int32", constant(1.0, "float32")), "int32")
    assert "as_int(1.000000e+00f)" in text


def test_arrays_of_vectors_and_of_a_group():
    builder = GridBuilder((1, 1, 1), (4, 1, 1))
    y = builder.pointer("y", "float32", 16)
    own = builder.array("own", "float32x4", 2)
    shared = builder.shared_array("shared", "float32", 4)
    builder.store(own, tirx.const(1, "int32"), constant(2.0, "float32", 4))
    builder.store(shared, builder.item(0), constant(1.0, "float32"))
    builder.barrier()
    store_vector(builder, y, builder.item(0) * 4, load(own, tirx.const(1, "int32")), 4)
    text = text_of(builder)
    assert re.search(r"float4 own\w*\[2\]", text)
    assert re.search(r"__local float shared\w*\[4\]", text)
    assert "barrier(CLK_LOCAL_MEM_FENCE)" in text


def test_no_variable_hides_a_function():
    text = small(lambda builder: builder.let("mad", constant(1.0, "float32"), "float32"))
    assert "float mad_ =" in text


def test_equal_kernels_are_one():
    def built(number):
        builder = GridBuilder((1, 1, 1), (1, 1, 1))
        builder.store(builder.pointer("y", "float32", 1), 0, constant(number, "float32"))
        return builder.finish("kernel")

    assert built(1.0).symbol == built(1.0).symbol != built(2.0).symbol
    text = opencl_source([built(1.0), built(1.0), built(2.0)], GPU)
    assert text.count(") {\n") == 2


def test_sizes_of_a_run():
    """They are a kernel's last arguments, and decide how many groups there are."""
    elements = Size.of(Symbol("n", 1, 100)) * 3
    builder = GridBuilder.line(elements, 64)
    y = builder.pointer("y", "float32", elements)
    with builder.each(elements) as at:
        builder.store(y, at, constant(1.0, "float32"))
    call = builder.call("fill", [Value("y", (elements,), "float32")])
    assert call.launch.global_sizes == (320, 1, 1)
    assert call.dynamic.groups == ((elements + 63, 64), (1, 1), (1, 1))
    assert call.dynamic.sizes == (elements,)
    text = opencl_source([call.kernel], GPU)
    assert re.search(r"\(__global float\* restrict y, int size\) {", text)
    assert "< size" in text


@pytest.mark.parametrize("axis", [1, 2])
def test_grids_that_are_long_along_another_axis(axis):
    """More groups than CUDA starts there: x counts them, and the axis what x would."""
    n = Size.of(Symbol("n", 1, 65537))
    groups = [2, 3, 5]
    groups[axis] = n
    builder = GridBuilder(tuple(groups), (8, 4, 1))
    builder.store(
        builder.pointer("y", "int32", 1), 0, builder.group(axis) * 7 + builder.group(0)
    )
    call = builder.call("long", [Value("y", (1,), "int32")])
    items = [2 * 8, 3 * 4, 5]
    items[axis], items[0] = 2 * (8, 4, 1)[axis], 65537 * 8
    assert call.launch.global_sizes == tuple(items)
    counts = [(2, 1), (3, 1), (5, 1)]
    counts[axis], counts[0] = (2, 1), (n, 1)
    assert call.dynamic.groups == tuple(counts)
    text = opencl_source([call.kernel], GPU)
    assert re.search(rf"get_group_id\(0\)\)+ \* 7\) \+ .*get_group_id\({axis}\)", text)


def test_grids_of_usual_length_keep_their_axes():
    builder = GridBuilder((2, 65535, 1), (1, 1, 1))
    builder.store(builder.pointer("y", "int32", 1), 0, builder.group(1))
    assert builder.launch.global_sizes == (2, 65535, 1)
    assert "get_group_id(1)" in text_of(builder)


def test_fixed_sizes():
    builder = GridBuilder.line(100, 64)
    with builder.each(100) as at:
        builder.store(builder.pointer("y", "float32", 100), at, constant(1.0, "float32"))
    call = builder.call("fill", [Value("y", (100,), "float32")])
    assert call.dynamic is None


@pytest.mark.parametrize(("part", "is_named"), [(1, False), (8, True)])
def test_parts(part, is_named):
    builder = GridBuilder((1, 1, 1), (1, 1, 1))
    assert builder.parts_of(17, part) == -(-17 // part)
    n = Size.of(Symbol("n", 1, 100))
    y = builder.pointer("y", "int32", 1)
    builder.store(y, 0, builder.parts_of(n, part))
    assert ("(size + 7) / 8" in text_of(builder)) is is_named


@pytest.mark.parametrize(("items", "groups"), [(1, 1), (64, 1), (65, 2), (0, 1)])
def test_groups_hold_all_items(items, groups):
    assert line_of_groups(items, 64) == (groups, 1, 1)
