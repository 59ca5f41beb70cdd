"""Kernels to relocatable objects: one object per kernel, in parallel, cached by content."""

import hashlib
import json
import multiprocessing
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tvm
from tvm import tirx

from edgecomp.cache import cache_folder, write_whole
from edgecomp.device.target import Target
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
    missing = [wanted[symbol] for symbol, path in paths.items() if not path.exists()]
    done = len(paths) - len(missing)
    if progress:
        progress(done, len(paths))
    for _ in _compile_missing(missing, target, paths, workers or os.cpu_count() or 1):
        done += 1
        if progress:
            progress(done, len(paths))
    return {symbol: path.read_bytes() for symbol, path in paths.items()}


def compile_to_object(kernel: Kernel, target: Target) -> bytes:
    """Compile one kernel, without the cache."""
    library = _build(kernel, target)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "kernel.o"
        library.write_to_file(str(path), "o")
        return path.read_bytes()


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


def _compile_missing(
    missing: Sequence[Kernel],
    target: Target,
    paths: dict[str, pathlib.Path],
    workers: int,
) -> Iterable[None]:
    """Yield once per finished kernel."""
    if workers == 1 or len(missing) < 3:
        for kernel in missing:
            _write(kernel, target, paths[kernel.symbol])
            yield
        return
    # Functions are inherited through fork: they need not be pickled and TVM is not imported
    # again (2 s). Longest first keeps the processes busy to the end.
    global _inherited
    _inherited = [(kernel, target, paths[kernel.symbol]) for kernel in missing]
    try:
        with multiprocessing.get_context("fork").Pool(min(workers, len(missing))) as pool:
            yield from pool.imap_unordered(_write_inherited, range(len(missing)))
    finally:
        _inherited = []


_inherited: list[tuple[Kernel, Target, pathlib.Path]] = []


def _write_inherited(index: int) -> None:
    _write(*_inherited[index])


def _write(kernel: Kernel, target: Target, path: pathlib.Path) -> None:
    write_whole(path, compile_to_object(kernel, target))
