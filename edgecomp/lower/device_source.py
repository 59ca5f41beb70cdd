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
    return head + text


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
    return _without_head(str(library.inspect_source()))


def _without_head(text: str) -> str:
    """Drop what TVM asks of compilers for pointers to half: they are core OpenCL, and
    ``vload_half`` with them. Kernels that compute in half say so themselves.
    """
    return text[text.index("__kernel") :]
