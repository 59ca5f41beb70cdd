"""OpenCL C that computes in half, on this machine's processor: compiled by clang, run through ctypes."""

import ctypes
import pathlib
import shutil
import subprocess
import tempfile

import numpy as np
import pytest

from edgecomp.plan.values import SLACK_BYTES, Value
from edgecomp.schedules.schedule import Constant

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "opencl_on_cpu"
_PATTERN = 0xA5


class _Image(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        *((name, ctypes.c_int) for name in ("width", "height", "is_half")),
    )


def run_opencl_on_cpu(calls, target, buffers):
    """Run calls in order; see ``helpers.kernels.run_calls``."""
    from edgecomp.lower.device_source import opencl_source

    library = _compiled(opencl_source([call.kernel for call in calls], target.gpu))
    arrays = {}
    for argument in (argument for call in calls for argument in call.arguments):
        if argument not in arrays:
            arrays[argument] = _with_slack(_contents(argument, buffers))
    for call in calls:
        _run(library, call, [arrays[argument] for argument in call.arguments])
    for raw in arrays.values():
        assert (raw[-SLACK_BYTES:] == _PATTERN).all(), "wrote past the end"
    return {
        argument: raw[:-SLACK_BYTES].view(argument.stored)
        for argument, raw in arrays.items()
        if isinstance(argument, Value)
    }


def _compiled(text):
    compiler = shutil.which("clang-19") or shutil.which("clang")
    if compiler is None:
        pytest.skip(
            "OpenCL C that computes in half is compiled by clang, which is not installed"
        )
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "kernels.cl").write_text(text)
        flags = ["-O1", "-fPIC", "-ffp-contract=off", "-w"]
        own = [
            "-x",
            "cl",
            "-cl-std=CL1.2",
            "-Xclang",
            "-cl-ext=+cl_khr_fp16",
            "-Dsize_t=ulong",
        ]
        own += ["-include", FOLDER / "opencl_on_cpu.cl", "-target", "x86_64-unknown-linux-gnu"]
        for command in (
            [compiler, *own, *flags, "-c", folder / "kernels.cl", "-o", folder / "kernels.o"],
            [compiler, *flags, "-shared", FOLDER / "run.c", folder / "kernels.o", "-o",
             folder / "kernels.so"],
        ):  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{done.stderr[:4000]}\n{text[:4000]}"
        return ctypes.CDLL(str(folder / "kernels.so"))


def _contents(argument, buffers):
    if isinstance(argument, Constant):
        return np.ascontiguousarray(argument.array).reshape(-1)
    if argument in buffers:
        return np.ascontiguousarray(buffers[argument])
    return np.full(argument.bytes, _PATTERN, np.uint8)


def _with_slack(array):
    raw = np.full(array.nbytes + SLACK_BYTES, _PATTERN, np.uint8)
    raw[: array.nbytes] = array.view(np.uint8)
    return raw


def _run(library, call, arrays):
    sizes = zip(call.launch.global_sizes, call.launch.local_sizes, strict=True)
    groups = (ctypes.c_uint * 3)(*(items // group for items, group in sizes))
    items = (ctypes.c_uint * 3)(*call.launch.local_sizes)
    places = [array.ctypes.data for array in arrays]
    images = []  # kept until the kernel has run
    for given in call.launch.images:
        argument = call.arguments[given.argument]
        dtype = (
            argument.array.dtype.name if isinstance(argument, Constant) else argument.stored
        )
        is_half = {"float16": True, "float32": False}[dtype]
        image = _Image(places[given.argument], given.width, given.height, is_half)
        images.append(image)
        places[given.argument] = ctypes.addressof(image)
    pointers = (ctypes.c_void_p * len(arrays))(*places)
    kernel = ctypes.cast(getattr(library, call.kernel.symbol), ctypes.c_void_p)
    library.ec_run(kernel, groups, items, len(arrays), pointers)
