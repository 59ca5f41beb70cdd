"""Products of words of four 8-bit integers as GPUs compute them, bit by bit."""

import dataclasses

import numpy as np
import pytest
from helpers.dense import Conv, halo_untouched, make_integer, run
from helpers.gpu import TARGETS
from helpers.kernels import read
from helpers.opencl import run_gpu_calls

from edgecomp.plan.values import Halo
from edgecomp.schedules.gpu import dot_product

#: Interfaces whose texts have the instruction.
DEVICES = {
    name: dataclasses.replace(
        TARGETS[name], gpu=dataclasses.replace(TARGETS[name].gpu, features={"int8_dot"})
    )
    for name in ("opencl", "cuda")
}
#: Tails of K and of columns, overlapping last rows, a residual, halos, the extremes; groups.
CASES = [
    Conv(c=6, m=21, h=5, w=7, k=(3, 3), p=(1, 1, 1, 1), finish="add", extreme=True,
         y_halo=Halo(1, 2, 0, 1)),
    Conv(c=16, m=10, h=9, w=3, g=2, s=(2, 1), finish="requantize"),
]  # fmt: skip
#: What compilers of devices with an extension have, by OpenCL C that this one has: macros, functions.
_SUMS = """
int of_products(int4 x, int4 w) { int4 all = x * w; return all.x + all.y + all.z + all.w; }
"""
EXTENSIONS = {
    "cl_khr_integer_dot_product": """
#define __opencl_c_integer_dot_product_input_4x8bit_packed
int dot_4x8packed_ss_int(uint x, uint w) {
  return of_products(convert_int4(as_char4(x)), convert_int4(as_char4(w)));
}
int dot_4x8packed_us_int(uint x, uint w) {
  return of_products(convert_int4(as_uchar4(x)), convert_int4(as_char4(w)));
}
""",
    "cl_arm_integer_dot_product_accumulate_int8": """
int __attribute__((overloadable)) arm_dot_acc(char4 x, char4 w, int sum) {
  return sum + of_products(convert_int4(x), convert_int4(w));
}
""",
    # The first is signed, the second is not, and the sum saturates. PoCL compiles OpenCL C 3.0.
    "cl_qcom_dot_product8": """
#undef __OPENCL_C_VERSION__
#define __OPENCL_C_VERSION__ 120
int qcom_dot8_acc(uint p0, uint p1, int sum) {
  return add_sat(of_products(convert_int4(as_char4(p0)), convert_int4(as_uchar4(p1))), sum);
}
""",
}


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_product(case, device, dtype):
    target = dataclasses.replace(DEVICES[device], activation_dtype=dtype)
    operation, buffers, expected = make_integer(case, target, np.random.default_rng(3))
    assert dot_product.match(operation, target) == ""
    found, flat = run(dot_product, operation, buffers, target)
    assert (found == expected).all()
    assert halo_untouched(operation.output, flat)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_extensions(extension, dtype):
    """By the functions of each, which this machine's devices lack: they are called, and are enough."""
    target = dataclasses.replace(DEVICES["opencl"], activation_dtype=dtype)
    operation, buffers, expected = make_integer(CASES[0], target, np.random.default_rng(3))
    calls = dot_product.emit(operation, target)
    head = f"#define {extension} 1\n{_SUMS}{EXTENSIONS[extension]}"
    found = run_gpu_calls(calls, target, buffers, head=head)[operation.output]
    assert (read(operation.output, found) == expected).all()
    if (extension, dtype) == ("cl_arm_integer_dot_product_accumulate_int8", "uint8"):
        return  # it has no function for unsigned times signed
    wrong = head.replace("int4 all = x * w", "int4 all = x * w + 1")
    found = run_gpu_calls(calls, target, buffers, head=wrong)[operation.output]
    assert (read(operation.output, found) != expected).any()


def test_not_of_compilers_that_only_announce_it():
    """Qualcomm's for OpenCL C 3.0: whoever calls the function does not compile."""
    target = DEVICES["opencl"]
    operation, buffers, expected = make_integer(CASES[1], target, np.random.default_rng(3))
    head = """
#undef __OPENCL_C_VERSION__
#define __OPENCL_C_VERSION__ 300
#define cl_qcom_dot_product8 1
"""
    calls = dot_product.emit(operation, target)
    found = run_gpu_calls(calls, target, buffers, head=head)[operation.output]
    assert (read(operation.output, found) == expected).all()


def test_sums_that_a_device_would_saturate():
    target = dataclasses.replace(DEVICES["opencl"], activation_dtype="int8")
    operation, _, _ = make_integer(Conv(c=8, m=8), target, np.random.default_rng(3))
    bias = operation.inputs[2].constant
    room = 255 * np.abs(operation.inputs[1].constant.astype(int)).sum(axis=(1, 2, 3))
    bias[:] = 2**31 - 1 - room
    assert dot_product.match(operation, target) == ""
    bias[3] += 1
    assert "leave 32 bits" in dot_product.match(operation, target)


def test_refusals():
    operation, _, _ = make_integer(Conv(c=3, m=8), DEVICES["opencl"], np.random.default_rng(3))
    assert "only 3" in dot_product.match(operation, DEVICES["opencl"])
    operation, _, _ = make_integer(Conv(c=8, m=8), DEVICES["opencl"], np.random.default_rng(3))
    assert "int8_dot" in dot_product.match(operation, TARGETS["opencl"])
