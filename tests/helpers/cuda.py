"""Kernels of CUDA C on this machine's processor: compiled by a C++ compiler, run through ctypes."""

import ctypes
import functools
import hashlib
import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest

from edgecomp.errors import EdgecompError
from edgecomp.lower.nvcc import find_nvcc
from edgecomp.plan.values import Value
from edgecomp.schedules.cuda.text import kernel_text, prelude
from edgecomp.schedules.schedule import Constant
from helpers.folders import folder_of_the_process
from helpers.launches import BEHIND, bytes_behind, empty, groups_of, numbers_of

HEADER = pathlib.Path(__file__).resolve().parents[1] / "cuda_emulator" / "cuda_on_cpu.h"
_SYMBOL = re.compile(r"^extern \"C\" __global__ void \S+ (\w+)\(", re.MULTILINE)
#: Where threads wait for each other.
_MEETING = re.compile(r"__syncthreads|ec::w?mma_")


class Kernel(ctypes.Structure):
    """As cuda_on_cpu.h lists them."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("call", ctypes.c_void_p),
        ("parameters", ctypes.c_int),
        ("has_barriers", ctypes.c_int),
        ("parameter_bytes", ctypes.c_void_p),
    )


@functools.cache
def _folder():
    return folder_of_the_process("edgecomp-cuda-")


def host_source(text):
    """C++ of kernels (prelude and functions), with the list by which they are found."""
    parts = [f'#include "{HEADER}"', text]
    listed = []
    for part in re.split(r"(?=^extern \"C\" __global__)", text, flags=re.MULTILINE)[1:]:
        (symbol,) = _SYMBOL.findall(part)
        listed.append((symbol, int(bool(_MEETING.search(part)))))
    parts += [f"EC_EMULATED_CALL({symbol})" for symbol, _ in listed]
    entries = [f"EC_EMULATED({symbol}, {barriers})" for symbol, barriers in listed]
    parts.append('extern "C" const ec_emulator::kernel ec_emulated_kernels[] = {')
    return "\n".join([*parts, *entries, '{"", nullptr, 0, 0, nullptr}};', ""])


def host_library(text, optimization="-O0"):
    """The path of a library with the kernels of a text."""
    return compiled(host_source(text), optimization)


def compiled(source, optimization="-O0"):
    """The path of a library of C++ that includes an emulator's header."""
    digest = hashlib.sha256((source + optimization).encode()).hexdigest()[:16]
    path = _folder() / f"{digest}.so"
    if not path.exists():
        compiler = shutil.which("g++") or shutil.which("clang++-19")
        if compiler is None:
            pytest.skip("no C++ compiler is installed")
        file = path.with_suffix(".cc")
        file.write_text(source)
        command = [compiler, optimization, "-std=c++17", "-march=native", "-shared", "-fPIC",
                   "-ffp-contract=off", "-fno-strict-aliasing", "-fsanitize=alignment",
                   "-fsanitize-undefined-trap-on-error", "-w", file, "-o", path]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[:4000]
    return path


def run_cuda_calls(calls, buffers, sizes=None):
    """Run calls in order; see ``helpers.kernels.run_calls``.

    Behind each buffer lie bytes that kernels may read but not write: those of larger sizes, too.
    """
    symbols = {call.kernel.symbol: call.kernel for call in calls}
    text = "\n".join([prelude(), *(kernel_text(kernel) for kernel in symbols.values())])
    return run_in_library(host_source(text), calls, buffers, sizes)


def run_in_library(source, calls, buffers, sizes=None):
    """Run calls in order by kernels of C++ that includes an emulator's header."""
    sizes = sizes or {}
    symbols = {call.kernel.symbol for call in calls}
    library = ctypes.CDLL(str(compiled(source)))
    table = ctypes.cast(library.ec_emulated_kernels, ctypes.POINTER(Kernel))
    found = {table[i].name.decode(): table[i] for i in range(len(symbols))}
    arrays, before, ends = {}, {}, {}
    for argument in (argument for call in calls for argument in call.arguments):
        if argument in arrays:
            continue
        contents = _contents(argument, buffers, sizes)
        arrays[argument] = _place(contents, bytes_behind(argument, contents))
        before[argument], ends[argument] = arrays[argument].copy(), contents.nbytes
    for call in calls:
        pointers = [ctypes.c_void_p(arrays[a].ctypes.data) for a in call.arguments]
        _run(library, found[call.kernel.symbol], call, pointers, sizes)
    results = {}
    for argument, raw in arrays.items():
        end = ends[argument]
        assert (raw[end:] == before[argument][end:]).all(), "wrote past the end"
        if isinstance(argument, Value):
            results[argument] = raw[:end].view(argument.stored)
        else:
            assert (raw == before[argument]).all(), "wrote to a constant"
    return results


def _contents(argument, buffers, sizes):
    if isinstance(argument, Constant):
        return np.ascontiguousarray(argument.array).reshape(-1)
    if argument in buffers:
        return np.ascontiguousarray(buffers[argument])
    if argument.constant is not None:
        return np.ascontiguousarray(argument.constant).reshape(-1)
    return empty(argument, sizes)


def _place(array, behind):
    """The array's bytes and what lies behind them, aligned as a tensor is."""
    raw = np.full(array.nbytes + behind + 64, BEHIND, np.uint8)
    start = -raw.ctypes.data % 64
    raw = raw[start : start + array.nbytes + behind]
    raw[: array.nbytes] = array.view(np.uint8)
    return raw


def _run(library, kernel, call, pointers, sizes):
    values = [*pointers, *map(ctypes.c_int32, numbers_of(call, sizes))]
    assert kernel.parameters == len(values)
    groups = groups_of(call, sizes)
    if groups is None:
        return
    block, grid = ((ctypes.c_uint * 3)(*each) for each in (call.launch.local_sizes, groups))
    assert max(grid[1], grid[2]) <= 65535, "more blocks than devices start along y and z"
    given = (ctypes.c_void_p * len(values))(
        *(ctypes.cast(ctypes.byref(value), ctypes.c_void_p) for value in values)
    )
    library.ec_emulate(ctypes.byref(kernel), grid, block, given)


@functools.cache
def emulator_folder():
    """The folder with libcuda.so.1, a driver without a device (``tests/cuda_emulator/emulator.h``)."""
    root = HEADER.parents[2]
    folder = _folder() / "driver"
    folder.mkdir()
    command = ["cc", "-std=c11", "-O1", "-shared", "-fPIC", "-fvisibility=hidden",
               f"-I{root}/runtime/src", *sorted(HEADER.parent.glob("*.c")), "-ldl",
               "-Wl,-soname,libcuda.so.1", "-o", folder / "libcuda.so.1"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@functools.cache
def emulator():
    """The driver in this process: a session that is opened from now on finds it."""
    return ctypes.CDLL(str(emulator_folder() / "libcuda.so.1"))


def emulate(*texts, optimization="-O0", **more):
    """Make the driver as at first, with the kernels of CUDA C sources, and with its options.

    Args:
        texts: at most one source.
        optimization: of the kernels.
        more: options of the emulator.
    """
    options = [f"{name}={value}" for name, value in more.items()]
    options += [f"kernels={host_library(text, optimization)}" for text in texts]
    driver = emulator()
    driver.ec_emulator_configure(";".join(options).encode())
    return driver


def require_nvcc():
    """Skip where CUDA C cannot be compiled."""
    try:
        find_nvcc()
    except EdgecompError as error:
        pytest.skip(f"{error.cause}: {error.hint}")
