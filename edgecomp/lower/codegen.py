"""One kernel to a relocatable object or to assembly text, by TVM."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import edgecomp.tvm_import  # noqa: F401

# isort: split
import tvm
from tvm import tirx

from edgecomp.device.target import Target
from edgecomp.held import scratch_folder
from edgecomp.schedules.builder import Kernel


def compile_to_object(kernel: Kernel, target: Target) -> bytes:
    """Compile one kernel."""
    library = _build(kernel, target)
    with _memory_file() as path:
        library.write_to_file(str(path), "o")
        return path.read_bytes()


@contextlib.contextmanager
def _memory_file() -> Iterator[pathlib.Path]:
    """A file for TVM, which writes only to paths.

    In memory where the system has that: LLVM ends the process when a disk is full, and a killed
    process leaves nothing.
    """
    if not hasattr(os, "memfd_create"):
        with scratch_folder() as folder:
            yield folder / "kernel.o"
        return
    descriptor = os.memfd_create("kernel.o")
    try:
        yield pathlib.Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def assembly(kernel: Kernel, target: Target) -> str:
    """The target's assembly text of one kernel, for people and for tests."""
    return str(_build(kernel, target).inspect_source("asm"))


def _build(kernel: Kernel, target: Target) -> Any:
    """Lower and generate code.

    The target has no host, so that the function keeps its raw pointer signature instead of
    getting a packed one.
    """
    tvm_target = tvm.target.Target(_with_fused_pairs(_with_whole_triple(target.tvm)))
    module = tvm.IRModule({kernel.symbol: kernel.function})
    module = tirx.transform.BindTarget(tvm_target)(module)
    with tvm.transform.PassContext(opt_level=3):
        module = tvm.transform.Sequential(_passes())(module)
    return tvm.get_global_func("target.build.llvm")(module, tvm_target)


def _passes() -> list[Any]:
    """What a function of flat buffers, scalar loops and explicit vectors still needs.

    TVM's own list has 40 passes for schedules, blocks and GPUs. On kernels that come unrolled
    from a ``KernelBuilder`` it takes five times as long as LLVM, which does their work
    (common subexpressions, hoisting) again.
    """
    passes = tirx.transform
    return [
        passes.FlattenBuffer(),
        passes.StmtSimplify(),
        passes.RemoveNoOp(),
        passes.LowerTVMBuiltin(),
        passes.LowerIntrin(),
    ]


def _with_fused_pairs(description: dict[str, Any]) -> dict[str, Any]:
    """The target with ``vpdpwssd`` as one instruction.

    Else LLVM makes ``vpmaddwd`` and ``vpaddd`` of it, which wait less and take twice the slots:
    kernels have sums enough that do not wait for each other.
    """
    features = description.get("mattr", [])
    if not {"+avx512vnni", "+avxvnni"} & set(features):
        return description
    return {**description, "mattr": [*features, "+fast-dpwssd"]}


def _with_whole_triple(description: dict[str, Any]) -> dict[str, Any]:
    """The target with the vendor that ``arch-linux-env`` leaves out.

    LLVM reads the short form as vendor "linux" and no known environment: on armv7 it then
    calls conversion functions of 64-bit integers by the wrong names and conventions.
    """
    parts = description.get("mtriple", "").split("-")
    if len(parts) != len(("arch", "system", "environment")) or parts[1] != "linux":
        return description
    return {**description, "mtriple": "-".join([parts[0], "unknown", *parts[1:]])}
