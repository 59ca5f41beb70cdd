"""Kernels to relocatable objects: one object per kernel, in parallel, cached by content."""

import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from edgecomp.cache import keep, kept
from edgecomp.cache_folder import cache_folder
from edgecomp.device.target import Target
from edgecomp.file_hash import file_sha256
from edgecomp.lower.workers import run_forked
from edgecomp.schedules.builder import Kernel

#: Sources that decide what comes out for a symbol, beside TVM.
_SOURCES = ("lower/codegen.py", "schedules/replay.py")

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


def _key(symbol: str, target: Target) -> str:
    facts = json.dumps([symbol, target.tvm, _pipeline()], sort_keys=True)
    return f"{symbol}-{hashlib.sha256(facts.encode()).hexdigest()[:16]}"


@functools.cache
def _pipeline() -> tuple[str, ...]:
    """All that makes objects of functions: TVM and the sources that drive it."""
    package = pathlib.Path(__file__).parents[1]
    return (
        *(importlib.metadata.version(name) for name in ("apache-tvm", "apache-tvm-ffi")),
        *(file_sha256(package / source) for source in _SOURCES),
    )


def _compile(
    kernels: Sequence[Kernel], target: Target, workers: int
) -> Iterator[tuple[Kernel, bytes]]:
    """Each kernel with its object, in the order in which they are ready."""
    if not kernels:
        return
    # Before the fork: every process would import TVM otherwise.
    from edgecomp.lower.codegen import compile_to_object

    if workers == 1 or len(kernels) < 3:
        for kernel in kernels:
            yield kernel, compile_to_object(kernel, target)
        return
    # Kernels are inherited through fork: they need not be pickled. Their functions are made there.
    for index, content in run_forked(
        lambda index: compile_to_object(kernels[index], target), len(kernels), workers
    ):
        yield kernels[index], content
