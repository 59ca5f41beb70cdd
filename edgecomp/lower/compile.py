"""Kernels to relocatable objects: one object per kernel, in parallel, cached by content."""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator

from edgecomp.cache import keep, kept
from edgecomp.cache_folder import cache_folder
from edgecomp.device.target import Target
from edgecomp.file_hash import file_sha256
from edgecomp.lower.compile_ahead import AheadCompiler
from edgecomp.lower.compile_here import compiling_here
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
    with compiling(kernels, target, cache=cache, workers=workers, progress=progress) as finish:
        return finish()


@contextlib.contextmanager
def compiling(
    kernels: Iterable[Kernel],
    target: Target,
    *,
    cache: pathlib.Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    ahead: AheadCompiler | None = None,
) -> Iterator[Callable[[], dict[str, bytes]]]:
    """``compile_kernels`` while the block runs; what it yields waits for the objects.

    Args:
        kernels: functions; several with one symbol count once.
        target: device the code is for.
        cache: folder of the object cache, None for the default one.
        workers: processes, None for one per processor.
        progress: called with (kernels done, kernels in all).
        ahead: what compiles, None for processes of this one.
    """
    folder = (cache or cache_folder()) / "objects"
    wanted = {kernel.symbol: kernel for kernel in kernels}
    paths = {symbol: folder / f"{_key(symbol, target)}.o" for symbol in sorted(wanted)}
    found = {symbol: kept(path) for symbol, path in paths.items()}
    objects = {symbol: content for symbol, content in found.items() if content is not None}
    missing = [kernel for symbol, kernel in wanted.items() if symbol not in objects]

    start = ahead.compiling if ahead else compiling_here
    with start(missing, target, workers or os.cpu_count() or 1) as compiled:

        def finish() -> dict[str, bytes]:
            if progress:
                progress(len(objects), len(paths))
            for kernel, content in compiled:
                objects[kernel.symbol] = content
                keep(paths[kernel.symbol], content)
                if progress:
                    progress(len(objects), len(paths))
            return {symbol: objects[symbol] for symbol in paths}

        yield finish


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
