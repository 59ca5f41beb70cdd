"""Run the kernel calls of one operation, on the host or under an emulator."""

import ctypes
import dataclasses
import functools
import hashlib
import itertools
import pathlib
import shutil
import subprocess
import tempfile

import numpy as np
import pytest

from edgecomp.lower.compile import compile_kernels
from edgecomp.plan.sizes import evaluate
from edgecomp.plan.values import SLACK_BYTES, Value
from edgecomp.schedules.schedule import Constant, KernelCall
from helpers.cuda import run_cuda_calls
from helpers.metal import run_metal_calls
from helpers.opencl import run_gpu_calls
from helpers.targets import reason_not_runnable
from helpers.webgpu import run_webgpu_calls

ALIGN = 64


def fill(value, array, halo_fill=0, rng=None):
    """Bytes of `value` in its own order: `array` (logical shape) inside a halo of `halo_fill`."""
    dtype = np.dtype(value.stored)
    flat = np.full(value.view.elements, halo_fill, dtype)
    _strided(flat, value.view)[...] = array
    return flat


def read(value, flat):
    """Logical array of a value from its buffer."""
    return np.array(_strided(flat, value.view))


def _strided(flat, view):
    item = flat.dtype.itemsize
    return np.lib.stride_tricks.as_strided(
        flat[view.offset :], view.shape, [s * item for s in view.strides]
    )


def run_calls(calls, target, buffers, slices=1, sizes=None):
    """Run calls in order.

    Args:
        calls: list[KernelCall].
        buffers: dict[Value, flat numpy array] for every value that is read; values that are
            only written get buffers filled with a pattern. A constant value may be left out.
        slices: cut every range [0, work_items) into this many calls, to check that ranges are
            independent.
        sizes: of the symbols of dynamic calls: dict[Symbol, int].

    Returns:
        dict[Value, flat array] after the calls.
    """
    if any(call.launch for call in calls):
        apps = {"metal": run_metal_calls, "webgpu": run_webgpu_calls}
        if target.gpu.api in apps:
            return apps[target.gpu.api](calls, buffers)
        if target.gpu.api == "cuda":
            return run_cuda_calls(calls, buffers, sizes)
        return run_gpu_calls(calls, target, buffers, sizes)
    reason = reason_not_runnable(target)
    if reason:
        pytest.skip(reason)
    order, arrays = [], {}
    for call in calls:
        for argument in call.arguments:
            if argument in arrays:
                continue
            order.append(argument)
            if isinstance(argument, Constant):
                arrays[argument] = np.ascontiguousarray(argument.array).reshape(-1)
            elif argument in buffers:
                arrays[argument] = np.ascontiguousarray(buffers[argument])
            elif argument.constant is not None:
                arrays[argument] = np.ascontiguousarray(argument.constant).reshape(-1)
            else:
                raw = np.full(evaluate(argument.bytes, sizes or {}), 0xA5, np.uint8)
                arrays[argument] = raw.view(np.dtype(argument.stored))
    objects = compile_kernels([c.kernel for c in calls], target, workers=1)
    run = _run_native if target.emulator is None else _run_emulated
    made = [_Made.at(call, sizes or {}) for call in calls]
    run(made, target, order, arrays, objects, slices)
    return {k: v for k, v in arrays.items() if isinstance(k, Value)}


@dataclasses.dataclass(frozen=True)
class _Made:
    """A call at given sizes.

    Attributes:
        call: as the schedule made it.
        work_items: in all.
        numbers: that it reads through its last pointer, None where it has none.
    """

    call: KernelCall
    work_items: int
    numbers: np.ndarray | None

    @classmethod
    def at(cls, call, sizes):
        dynamic = call.dynamic
        if dynamic is None:
            return cls(call, call.work_items, None)
        items = evaluate(dynamic.items, sizes) // dynamic.divisor
        assert items <= call.work_items
        numbers = [evaluate(size, sizes) for size in dynamic.sizes]
        return cls(call, items, np.array(numbers, np.int32) if numbers else None)


def _ranges(items, slices):
    cuts = [items * i // slices for i in range(slices + 1)]
    return [(a, b) for a, b in itertools.pairwise(cuts) if b > a]


def _aligned(array):
    raw = np.full(array.nbytes + ALIGN + SLACK_BYTES, 0x5A, np.uint8)
    start = -raw.ctypes.data % ALIGN
    raw[start : start + array.nbytes] = array.view(np.uint8) if array.nbytes else []
    return raw, start


@functools.cache
def _link(key, folder, compiler, flags):
    out = pathlib.Path(folder) / "kernels.so"
    objects = sorted(str(p) for p in pathlib.Path(folder).glob("*.o"))
    subprocess.run([compiler, "-shared", *flags, "-o", str(out), *objects, "-lm"], check=True)
    return ctypes.CDLL(str(out))


def _run_native(calls, target, order, arrays, objects, slices):
    compiler = next(c for c in target.toolchain.compilers if shutil.which(c))
    key = hashlib.sha256(
        repr(sorted(objects)).encode() + b"".join(objects.values())
    ).hexdigest()
    folder = pathlib.Path(tempfile.gettempdir()) / f"edgecomp-kernels-{key[:24]}"
    folder.mkdir(exist_ok=True)
    for symbol, content in objects.items():
        (folder / f"{symbol}.o").write_bytes(content)
    library = _link(key, str(folder), compiler, ())
    raws = {a: _aligned(arrays[a]) for a in order}
    for made in calls:
        call = made.call
        workspace = np.zeros(call.workspace_bytes + ALIGN, np.uint8)
        pointers = [
            ctypes.c_void_p(raws[a][0].ctypes.data + raws[a][1]) for a in call.arguments
        ]
        if call.workspace_bytes:
            pointers.append(
                ctypes.c_void_p(workspace.ctypes.data + -workspace.ctypes.data % ALIGN)
            )
        if made.numbers is not None:
            pointers.append(ctypes.c_void_p(made.numbers.ctypes.data))
        function = getattr(library, call.kernel.symbol)
        for lo, hi in _ranges(made.work_items, slices):
            function(*pointers, ctypes.c_int32(lo), ctypes.c_int32(hi))
    for a in order:
        raw, start = raws[a]
        assert (raw[start + arrays[a].nbytes :][:SLACK_BYTES] == 0x5A).all(), (
            "wrote past the end"
        )
        assert (raw[:start] == 0x5A).all(), "wrote before the start"
        arrays[a] = raw[start : start + arrays[a].nbytes].view(arrays[a].dtype)


def _run_emulated(calls, target, order, arrays, objects, slices):
    """One C program that reads the buffers from a file, makes the calls and writes them back."""
    compiler = next(c for c in target.toolchain.compilers if shutil.which(c))
    offsets, total = {}, 0
    for a in order:
        offsets[a] = total
        total += (arrays[a].nbytes + SLACK_BYTES + ALIGN - 1) // ALIGN * ALIGN
    scratch = max(made.call.workspace_bytes for made in calls)
    lines = ["#include <stdint.h>", "#include <stdio.h>", "#include <stdlib.h>"]
    pointers_of = {
        made.call.kernel.symbol: len(made.call.arguments)
        + bool(made.call.workspace_bytes)
        + (made.numbers is not None)
        for made in calls
    }
    for symbol, count in sorted(pointers_of.items()):
        lines.append(f"void {symbol}({', '.join(['void *'] * count)}, int32_t, int32_t);")
    for number, made in enumerate(calls):
        if made.numbers is not None:
            given = ", ".join(map(str, made.numbers))
            lines.append(f"static int32_t sizes_{number}[] = {{{given}}};")
    lines += [
        "int main(int argc, char **argv) {",
        "  (void)argc;",
        f"  size_t n = {total}; char *m = aligned_alloc(64, n + 64);",
        f"  char *w = aligned_alloc(64, {(scratch + 127) // 64 * 64}); (void)w;",
        '  FILE *f = fopen(argv[1], "rb"); if (!f || fread(m, 1, n, f) != n) return 2; fclose(f);',
    ]
    for number, made in enumerate(calls):
        call = made.call
        pointers = [f"m + {offsets[a]}" for a in call.arguments]
        pointers += ["w"] if call.workspace_bytes else []
        pointers += [f"sizes_{number}"] if made.numbers is not None else []
        for lo, hi in _ranges(made.work_items, slices):
            lines.append(f"  {call.kernel.symbol}({', '.join(pointers)}, {lo}, {hi});")
    lines += [
        '  f = fopen(argv[1], "wb"); if (!f || fwrite(m, 1, n, f) != n) return 3;',
        "  fclose(f); return 0;",
        "}",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        paths = []
        for symbol, content in objects.items():
            (folder / f"{symbol}.o").write_bytes(content)
            paths.append(str(folder / f"{symbol}.o"))
        (folder / "main.c").write_text("\n".join(lines))
        program = str(folder / "program")
        subprocess.run(
            [
                compiler,
                "-O1",
                "-static",
                *target.toolchain.flags,
                str(folder / "main.c"),
                *paths,
                "-o",
                program,
                "-lm",
            ],
            check=True,
        )
        image = np.full(total, 0x5A, np.uint8)
        for a in order:
            image[offsets[a] : offsets[a] + arrays[a].nbytes] = arrays[a].view(np.uint8)
        (folder / "memory").write_bytes(image.tobytes())
        emulator = target.emulator
        subprocess.run(
            [emulator.command, *emulator.arguments, program, str(folder / "memory")],
            check=True,
            timeout=300,
        )
        image = np.frombuffer((folder / "memory").read_bytes(), np.uint8).copy()
    for a in order:
        end = offsets[a] + arrays[a].nbytes
        assert (image[end : end + SLACK_BYTES] == 0x5A).all(), "wrote past the end"
        arrays[a] = image[offsets[a] : end].view(arrays[a].dtype)
