"""Kernels to relocatable objects: one object per kernel, in parallel, cached by content."""

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import tvm
from tvm import tirx

from edgecomp.cache import keep, kept
from edgecomp.cache_folder import cache_folder
from edgecomp.device.target import Target
from edgecomp.held import scratch_folder
from edgecomp.lower.workers import run_forked
from edgecomp.schedules.builder import Kernel

#: Raise when the lowering below changes what comes out for the same function.
PIPELINE_VERSION = 3

Progress = Callable[[int, int], None]


def compile_kernels(
    kernels: Iterable[Kernel],
    target: Target,
    *,
    cache: pathlib.Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, bytes]:
    """Compile each distinct kernel.

    Args:
        kernels: functions; several with one symbol count once.
        target: device the code is for.
        cache: folder of the object cache, None for the default one.
        workers: processes, None for one per processor.
        progress: called with (kernels done, kernels in all).

    Returns:
        Symbol -> ELF or Mach-O object, sorted by symbol.
    """
    folder = (cache or cache_folder()) / "objects"
    wanted = {kernel.symbol: kernel for kernel in kernels}
    paths = {symbol: folder / f"{_key(symbol, target)}.o" for symbol in sorted(wanted)}
    found = {symbol: kept(path) for symbol, path in paths.items()}
    objects = {symbol: content for symbol, content in found.items() if content is not None}
    missing = [kernel for symbol, kernel in wanted.items() if symbol not in objects]
    if progress:
        progress(len(objects), len(paths))
    for kernel, content in _compile(missing, target, workers or os.cpu_count() or 1):
        objects[kernel.symbol] = content
        keep(paths[kernel.symbol], content)
        if progress:
            progress(len(objects), len(paths))
    return {symbol: objects[symbol] for symbol in paths}


def compile_to_object(kernel: Kernel, target: Target) -> bytes:
    """Compile one kernel, without the cache."""
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
    tvm_target = tvm.target.Target(_with_whole_triple(target.tvm))
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


def _with_whole_triple(description: dict[str, Any]) -> dict[str, Any]:
    """The target with the vendor that ``arch-linux-env`` leaves out.

    LLVM reads the short form as vendor "linux" and no known environment: on armv7 it then
    calls conversion functions of 64-bit integers by the wrong names and conventions.
    """
    parts = description.get("mtriple", "").split("-")
    if len(parts) != len(("arch", "system", "environment")) or parts[1] != "linux":
        return description
    return {**description, "mtriple": "-".join([parts[0], "unknown", *parts[1:]])}


def _key(symbol: str, target: Target) -> str:
    facts = json.dumps([symbol, target.tvm, tvm.__version__, PIPELINE_VERSION], sort_keys=True)
    return f"{symbol}-{hashlib.sha256(facts.encode()).hexdigest()[:16]}"


def _compile(
    kernels: Sequence[Kernel], target: Target, workers: int
) -> Iterator[tuple[Kernel, bytes]]:
    """Each kernel with its object, in the order in which they are ready."""
    if workers == 1 or len(kernels) < 3:
        for kernel in kernels:
            yield kernel, compile_to_object(kernel, target)
        return
    # Functions are inherited through fork: they need not be pickled and TVM is not imported
    # again (2 s).
    for index, content in run_forked(
        lambda index: compile_to_object(kernels[index], target), len(kernels), workers
    ):
        yield kernels[index], content
