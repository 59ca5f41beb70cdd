"""Kernels to relocatable objects: one object per kernel, in parallel, cached by content."""

import contextlib
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
from edgecomp.lower.workers import forked
from edgecomp.schedules.builder import Kernel

#: Sources that decide what comes out for a symbol, beside TVM.
_SOURCES = ("lower/codegen.py", "schedules/replay.py")

#: From so many kernels on TVM is imported before processes are forked, once for all of them;
#: fewer are done sooner where it is imported beside the rest of the build.
_MANY = 3

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
) -> Iterator[Callable[[], dict[str, bytes]]]:
    """``compile_kernels`` while the block runs; what it yields waits for the objects."""
    folder = (cache or cache_folder()) / "objects"
    wanted = {kernel.symbol: kernel for kernel in kernels}
    paths = {symbol: folder / f"{_key(symbol, target)}.o" for symbol in sorted(wanted)}
    found = {symbol: kept(path) for symbol, path in paths.items()}
    objects = {symbol: content for symbol, content in found.items() if content is not None}
    missing = [kernel for symbol, kernel in wanted.items() if symbol not in objects]

    with _compile(missing, target, workers or os.cpu_count() or 1) as compiled:

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


@contextlib.contextmanager
def _compile(
    kernels: Sequence[Kernel], target: Target, workers: int
) -> Iterator[Iterator[tuple[Kernel, bytes]]]:
    """Each kernel with its object, in the order in which they are ready."""

    def compile_one(index: int) -> bytes:
        from edgecomp.lower.codegen import compile_to_object

        return compile_to_object(kernels[index], target)

    if workers == 1 or not kernels:
        yield ((kernel, compile_one(index)) for index, kernel in enumerate(kernels))
        return
    if len(kernels) >= _MANY:
        import edgecomp.lower.codegen  # noqa: F401
    # Kernels are inherited through fork: they need not be pickled. Their functions are made there.
    with forked(compile_one, len(kernels), workers) as results:
        yield ((kernels[index], content) for index, content in results)
