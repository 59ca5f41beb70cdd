"""The runtime's C files, and where a bundle puts them."""

import dataclasses
import functools
import pathlib

from edgecomp.resources import resource_folder

#: Folders of a bundle: public headers, and everything else of the runtime.
HEADERS = "include"
SOURCES = "src/runtime"

#: Number of a back end (ec_device_kind) -> its folder; the CPU's is always built.
DEVICES = {1: "opencl", 2: "cuda"}


@dataclasses.dataclass(frozen=True)
class RuntimeFiles:
    """The runtime as files of a bundle.

    Attributes:
        contents: path in the bundle -> contents: headers, sources and the lists of them.
        library_sources: paths in the bundle of what the library is compiled from.
        runner_sources: the same for the command-line runner.
    """

    contents: dict[str, bytes]
    library_sources: tuple[str, ...]
    runner_sources: tuple[str, ...]

    @property
    def include_folders(self) -> tuple[str, ...]:
        """Folders in the bundle for ``-I``."""
        return (HEADERS, f"{SOURCES}/src")


@functools.cache
def runtime_files(devices: tuple[int, ...] = ()) -> RuntimeFiles:
    """Read the runtime's files.

    Args:
        devices: numbers of back ends that are built in beside the CPU's (``Plan.devices``).
    """
    folder = resource_folder("runtime")
    lists = [folder / "sources.txt", folder / "runner_sources.txt"]
    library, runner = (_source_list(path.read_text(encoding="utf-8")) for path in lists)
    folders = {n: folder / "src" / "device" / name for n, name in DEVICES.items()}
    for device in devices:
        library = _with_device(library, folder, folders.pop(device))
    headers = [
        path
        for path in (*(folder / "src").rglob("*.h"), *(folder / "tools").glob("*.h"))
        if path.parent not in folders.values()
    ]
    places = {
        f"{HEADERS}/{path.relative_to(folder / 'include').as_posix()}": path
        for path in (folder / "include").rglob("*.h")
    }
    for path in (*lists, *headers, *(folder / name for name in (*library, *runner))):
        places[f"{SOURCES}/{path.relative_to(folder).as_posix()}"] = path
    return RuntimeFiles(
        {name: path.read_bytes() for name, path in sorted(places.items())},
        tuple(f"{SOURCES}/{name}" for name in library),
        tuple(f"{SOURCES}/{name}" for name in runner),
    )


def _with_device(library: list[str], folder: pathlib.Path, own: pathlib.Path) -> list[str]:
    """The sources with a back end in the place of what stands in for it."""
    absent = (own / f"{own.name}_absent.c").relative_to(folder).as_posix()
    sources = [path.relative_to(folder).as_posix() for path in own.glob("*.c")]
    return sorted({*library, *sources} - {absent})


def _source_list(text: str) -> list[str]:
    """Lines of a list: paths below ``runtime/``; ``#`` begins a comment."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]
