"""Kernels of Metal on this machine's processor: compiled by a C++ compiler, run through ctypes."""

import pathlib
import re

from edgecomp.schedules.shader.metal import metal_source
from helpers.cuda import run_in_library

HEADER = pathlib.Path(__file__).resolve().parents[1] / "metal_emulator" / "metal_on_cpu.h"
_KERNEL = re.compile(r"^\[\[kernel, [^\]]*\]\] void (\w+)\(", re.MULTILINE)


def host_source(text):
    """C++ of a Metal source, with the list by which its kernels are found."""
    own = re.sub(r"#include <metal_stdlib>\nusing namespace metal;\n", "", text)
    bodies = re.split(r"(?=^\[\[kernel)", own, flags=re.MULTILINE)[1:]
    listed = [(_KERNEL.match(body)[1], int("threadgroup_barrier" in body)) for body in bodies]
    calls = [f"EC_METAL_CALL({symbol})" for symbol, _ in listed]
    entries = [f"EC_METAL_KERNEL({symbol}, {barriers})" for symbol, barriers in listed]
    head = 'extern "C" const ec_emulator::kernel ec_emulated_kernels[] = {'
    tail = '{"", nullptr, 0, 0, nullptr}};'
    own = own.replace("(threadgroup ", "(")  # pointers, which all are to one memory here
    own = re.sub(r"\bchar\b", "schar", own)  # signed on every machine, as Metal's is
    return "\n".join(
        [
            f'#include "{HEADER}"',
            "typedef signed char schar;",
            own,
            *calls,
            head,
            *entries,
            tail,
            "",
        ]
    )


def run_metal_calls(calls, buffers):
    """Run calls in order; see ``helpers.kernels.run_calls``."""
    return run_in_library(host_source(metal_source([c.kernel for c in calls])), calls, buffers)
