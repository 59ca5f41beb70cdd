"""Compile a bundle's sources and link its libraries and its runner."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence

from edgecomp.bundle import elf, runtime_files
from edgecomp.bundle.manifest import BuildFacts
from edgecomp.bundle.toolchain import Compiler
from edgecomp.cache import keep, kept
from edgecomp.errors import Code, EdgecompError
from edgecomp.progress import Progress

#: Scratch folder inside the bundle while it is built.
_WORK = ".build"
#: What loads a device's driver needs where the C library keeps it apart.
_LOADER = ("-ldl",)


@dataclasses.dataclass(frozen=True)
class Built:
    """What the toolchain made.

    Attributes:
        facts: for the manifest.
        runtime_bytes: code and data of the runtime's objects.
        descriptor_bytes: data of the model's own object, embedded weights included.
    """

    facts: BuildFacts
    runtime_bytes: int
    descriptor_bytes: int


def build_libraries(
    folder: pathlib.Path,
    name: str,
    compiler: Compiler,
    kernels: Sequence[str],
    *,
    sources: Sequence[str],
    embedded: bool,
    devices: tuple[int, ...] = (),
    cache: pathlib.Path,
    progress: Progress,
) -> Built:
    """Build ``lib/lib<name>.so``, ``lib/lib<name>.a`` and ``bin/edgecomp_run``.

    Args:
        folder: the bundle with its sources in place.
        name: of the model.
        compiler: for the target.
        kernels: objects with kernels, paths in the bundle.
        sources: C files with the descriptors, paths in the bundle.
        embedded: whether ``src/<name>_weights.S`` is there.
        devices: back ends that are built in beside the CPU's.
        cache: where the runtime's objects are kept between builds.
        progress: called with the sources compiled so far.

    Raises:
        EdgecompError: TOOLCHAIN_FAILED with the compiler's output.
    """
    runtime = runtime_files.runtime_files(devices)
    model_sources = [*sources, *([f"src/{name}_weights.S"] if embedded else [])]
    library = [
        *(_Job(source, compiler, cached=False) for source in model_sources),
        *(_Job(source, compiler, cached=True) for source in runtime.library_sources),
    ]
    runner = [_Job(source, compiler, cached=True) for source in runtime.runner_sources]
    facts = BuildFacts(
        compiler=compiler.identity,
        shared=f"lib/lib{name}.so",
        static=f"lib/lib{name}.a",
        runner="bin/edgecomp_run",
    )
    try:
        _compile_all([*library, *runner], folder, cache, progress)
        objects = [*(job.out for job in library), *kernels]
        libraries = _LOADER if devices else ()
        program = [*(job.out for job in runner), *objects]
        _all_of(
            lambda: compiler.link_shared(objects, facts.shared, folder, libraries),
            lambda: compiler.archive(objects, facts.static, folder),
            lambda: _link_runner(
                program, facts.runner, compiler, folder, loads_drivers=bool(devices)
            ),
        )
        return Built(
            facts,
            runtime_bytes=_loaded_bytes(folder, [job for job in library if job.cached]),
            descriptor_bytes=_loaded_bytes(folder, [job for job in library if not job.cached]),
        )
    finally:
        shutil.rmtree(folder / _WORK, ignore_errors=True)


@dataclasses.dataclass(frozen=True)
class _Job:
    """One source to compile; ``cached`` where it is the same in every bundle."""

    source: str
    compiler: Compiler
    cached: bool

    @property
    def out(self) -> str:
        """Path of the object: a flat name, because archives hold names without folders."""
        flat = self.source.removeprefix(f"{runtime_files.SOURCES}/").removeprefix("src/")
        return f"{_WORK}/{flat.replace('/', '_')}.o"


def _compile_all(
    jobs: Sequence[_Job],
    folder: pathlib.Path,
    cache: pathlib.Path,
    progress: Progress,
) -> None:
    includes = (*runtime_files.runtime_files().include_folders, ".")

    def compile_one(job: _Job) -> None:
        name = pathlib.PurePosixPath(job.out).name
        place = cache / "runtime" / _key(job.compiler) / name
        content = kept(place) if job.cached else None
        if content is not None:
            (folder / job.out).parent.mkdir(parents=True, exist_ok=True)
            (folder / job.out).write_bytes(content)
            return
        # ".": the assembler finds the weights in the bundle's own folder.
        job.compiler.compile(job.source, job.out, includes, folder)
        if job.cached:
            keep(place, (folder / job.out).read_bytes())

    with _threads() as pool:
        for done, _ in enumerate(pool.map(compile_one, jobs), 1):
            progress("compile the runtime", done, len(jobs))


def _all_of(*actions: Callable[[], None]) -> None:
    """Do all; raise what the first that failed raised."""
    with _threads() as pool:
        for done in [pool.submit(action) for action in actions]:
            done.result()


@contextlib.contextmanager
def _threads() -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        yield pool
    finally:
        # After an error or a signal only those that run already are waited for.
        pool.shutdown(wait=True, cancel_futures=True)


@functools.cache
def _key(compiler: Compiler) -> str:
    """Of everything that decides what the runtime's objects are."""
    digest = hashlib.sha256()
    for part in (compiler.identity, *compiler.compile_command):
        digest.update(part.encode() + b"\0")
    every = runtime_files.runtime_files(tuple(runtime_files.DEVICES))
    for path, content in every.contents.items():
        digest.update(path.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()[:32]


def _link_runner(
    objects: Sequence[str],
    out: str,
    compiler: Compiler,
    folder: pathlib.Path,
    *,
    loads_drivers: bool,
) -> None:
    """Link statically, so that the runner starts on a device with any C library.

    Where the toolchain has no static C library, link dynamically; likewise where the program
    loads drivers, which bring the system's C library with them.
    """
    if loads_drivers:
        compiler.link_program(objects, out, folder, static=False, libraries=_LOADER)
        return
    try:
        compiler.link_program(objects, out, folder, static=True)
    except EdgecompError as error:
        if error.code is not Code.TOOLCHAIN_FAILED:
            raise
        compiler.link_program(objects, out, folder, static=False)


def _loaded_bytes(folder: pathlib.Path, jobs: Sequence[_Job]) -> int:
    return sum(elf.loaded_bytes((folder / job.out).read_bytes()) for job in jobs)
