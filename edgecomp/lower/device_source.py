"""Kernels of a GPU to the text that its driver compiles, by TVM's OpenCL code generator."""

import re
from collections.abc import Sequence
from typing import Any

import edgecomp.tvm_import  # noqa: F401

# isort: split
import tvm
from tvm import tirx

from edgecomp.device.target import Gpu
from edgecomp.schedules.builder import Kernel

#: TVM's mark of a function that a device starts by itself.
_DEVICE_KERNEL = 2
#: In front of all kernels. Sums are formed as they are written: what a kernel gives is the same
#: on devices with and without fused multiply-add where it is defined bit by bit.
_HEAD = "#pragma OPENCL FP_CONTRACT OFF\n"
#: In front of kernels that compute in half, which are those with the type apart from pointers.
_HALF_HEAD = "#pragma OPENCL EXTENSION cl_khr_fp16 : enable\n"
_HALF_CHECK = re.compile(r"#ifdef cl_khr_fp16\n.*?#endif\n", re.DOTALL)
#: In front of kernels that multiply words of four 8-bit elements: each lane's sum of products, by
#: the device's instruction where its compiler has one, and exact in any case. Qualcomm's multiplies signed
#: by unsigned elements and saturates: x is x + 128 there, and schedules see to it that no sum goes that far.
#: Its compilers for OpenCL C 3.0 announce it and do not have it.
_DOT_HEAD = """\
#if defined(cl_khr_integer_dot_product) && \\
    defined(__opencl_c_integer_dot_product_input_4x8bit_packed)
#pragma OPENCL EXTENSION cl_khr_integer_dot_product : enable
#define EC_DOT_S8(x, w, sum) ((sum) + dot_4x8packed_ss_int((uint)(x), (uint)(w)))
#define EC_DOT_U8(x, w, sum) ((sum) + dot_4x8packed_us_int((uint)(x), (uint)(w)))
#elif defined(cl_arm_integer_dot_product_accumulate_int8)
#pragma OPENCL EXTENSION cl_arm_integer_dot_product_accumulate_int8 : enable
#define EC_DOT_S8(x, w, sum) arm_dot_acc(as_char4(x), as_char4(w), sum)
#elif defined(cl_qcom_dot_product8) && __OPENCL_C_VERSION__ < 300
#pragma OPENCL EXTENSION cl_qcom_dot_product8 : enable
#define EC_DOT_S8(x, w, sum) qcom_dot8_acc((uint)(w), (uint)(x) ^ 0x80808080u, sum)
#define EC_DOT_U8(x, w, sum) qcom_dot8_acc((uint)(w), (uint)(x), sum)
#define EC_START(bias, below) (below)
#endif
int ec_dot(int4 x, int4 w, int sum) {
  return mad24(x.x, w.x, mad24(x.y, w.y, mad24(x.z, w.z, mad24(x.w, w.w, sum))));
}
#ifndef EC_DOT_S8
#define EC_DOT_S8(x, w, sum) ec_dot(convert_int4(as_char4(x)), convert_int4(as_char4(w)), sum)
#endif
#ifndef EC_DOT_U8
#define EC_DOT_U8(x, w, sum) ec_dot(convert_int4(as_uchar4(x)), convert_int4(as_char4(w)), sum)
#endif
#ifndef EC_START
#define EC_START(bias, below) (bias)
#endif
int4 dot4_start(int4 bias, int4 below) { return EC_START(bias, below); }
int4 dot4_s8(int x, int4 w, int4 sum) {
  return (int4)(EC_DOT_S8(x, w.x, sum.x), EC_DOT_S8(x, w.y, sum.y), EC_DOT_S8(x, w.z, sum.z),
                EC_DOT_S8(x, w.w, sum.w));
}
int4 dot4_u8(int x, int4 w, int4 sum) {
  return (int4)(EC_DOT_U8(x, w.x, sum.x), EC_DOT_U8(x, w.y, sum.y), EC_DOT_U8(x, w.z, sum.z),
                EC_DOT_U8(x, w.w, sum.w));
}
"""
_DOT = "dot4_"
#: What TVM calls every texture; kernels have images of two dimensions (``schedules/gpu/images.py``).
_TEXTURE, _IMAGE = "image2d_array_t", "__read_only image2d_t"
#: In front of kernels that read images. TVM declares their sampler: no normalized coordinates, no
#: filter, and zeros behind the border.
_TEXEL_HEAD = """\
#define EC_TEXEL_F(image, x, y) read_imagef(image, image_sampler, (int2)(x, y))
#define EC_TEXEL_H(image, x, y) read_imageh(image, image_sampler, (int2)(x, y))
#define EC_TEXEL_I(image, x, y) read_imagei(image, image_sampler, (int2)(x, y))
#define EC_TEXEL_U(image, x, y) read_imageui(image, image_sampler, (int2)(x, y))
"""
_HALF = re.compile(r"\bhalf\d*\b(?! *\*)")


def opencl_source(kernels: Sequence[Kernel], gpu: Gpu) -> str:
    """OpenCL C of all kernels, each once, by symbol."""
    functions = {kernel.symbol: kernel for kernel in kernels}
    target = tvm.target.Target(
        {"kind": "opencl", "max_num_threads": gpu.most_group_items, "max_function_args": 32}
    )
    texts = [_text(functions[symbol], target) for symbol in sorted(functions)]
    text = "\n".join(texts)
    head = _HALF_HEAD + _HEAD if extensions_of(text) else _HEAD
    head += _TEXEL_HEAD if _IMAGE in text else ""
    return head + (_DOT_HEAD if _DOT in text else "") + text


def extensions_of(text: str) -> tuple[str, ...]:
    """What a device must have for OpenCL C of kernels."""
    return ("cl_khr_fp16",) if _HALF.search(text) else ()


def _text(kernel: Kernel, target: Any) -> str:
    function = kernel.function.with_attr("calling_conv", _DEVICE_KERNEL)
    module = tvm.IRModule({kernel.symbol: function})
    module = tirx.transform.BindTarget(target)(module)
    with tvm.transform.PassContext(opt_level=3):
        # Buffers are flat and vectors explicit: only functions are left to be named.
        module = tirx.transform.LowerIntrin()(module)
    library = tvm.get_global_func("target.build.opencl")(module, target)
    return _without_head(str(library.inspect_source())).replace(_TEXTURE, _IMAGE)


def _without_head(text: str) -> str:
    """Drop what TVM asks of compilers for pointers to half.

    They are core OpenCL, and ``vload_half`` with them. Kernels that compute in half say so
    themselves.
    """
    return _HALF_CHECK.sub("", text)
