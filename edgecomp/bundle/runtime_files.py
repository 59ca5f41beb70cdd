"""The runtime's C files, and where a bundle puts them."""

import dataclasses
import functools

from edgecomp.resources import resource_folder

#: Folders of a bundle: public headers, and everything else of the runtime.
HEADERS = "include"
SOURCES = "src/runtime"
RUNNER = f"{SOURCES}/tools/edgecomp_run.c"


@dataclasses.dataclass(frozen=True)
class RuntimeFiles:
    """The runtime as files of a bundle.

    Attributes:
        contents: path in the bundle -> contents: headers, sources, the runner and the list.
        library_sources: paths in the bundle of what the library is compiled from.
    """

    contents: dict[str, bytes]
    library_sources: tuple[str, ...]

    @property
    def include_folders(self) -> tuple[str, ...]:
        """Folders in the bundle for ``-I``."""
        return (HEADERS, f"{SOURCES}/src")


@functools.cache
def runtime_files() -> RuntimeFiles:
    """Read the runtime's files."""
    folder = resource_folder("runtime")
    listed = _source_list((folder / "sources.txt").read_text(encoding="utf-8"))
    contents = {}
    for path in sorted((folder / "include").rglob("*.h")):
        contents[f"{HEADERS}/{path.relative_to(folder / 'include').as_posix()}"] = path
    headers = sorted((folder / "src").rglob("*.h"))
    for path in (*headers, *(folder / p for p in listed), folder / "sources.txt"):
        contents[f"{SOURCES}/{path.relative_to(folder).as_posix()}"] = path
    for path in sorted((folder / "tools").glob("edgecomp_run*.[ch]")):
        contents[f"{SOURCES}/{path.relative_to(folder).as_posix()}"] = path
    return RuntimeFiles(
        {name: path.read_bytes() for name, path in contents.items()},
        tuple(f"{SOURCES}/{p}" for p in listed),
    )


def _source_list(text: str) -> list[str]:
    """Lines of sources.txt: paths below ``runtime/``; ``#`` begins a comment."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]
