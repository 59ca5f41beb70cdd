"""Files that belong to the package but are not Python: target files and the runtime's C sources.

A wheel carries them in ``edgecomp/data``; in the repository, and so in an editable install, they
lie in the repository's root.
"""

import pathlib

from edgecomp.errors import Code, EdgecompError

_PACKAGE = pathlib.Path(__file__).parent

#: Folder -> a file that tells it from a folder that happens to have the same name.
_LANDMARKS = {
    "targets": "x86-64-v3.toml",
    "runtime": "include/edgecomp/edgecomp.h",
}


def resource_folder(name: str) -> pathlib.Path:
    """Return the folder ``targets`` or ``runtime``.

    Raises:
        EdgecompError: the installation lacks it.
    """
    for root in (_PACKAGE / "data", _PACKAGE.parent):
        if (root / name / _LANDMARKS[name]).is_file():
            return root / name
    raise EdgecompError(
        Code.INTERNAL,
        f"the installation has no '{name}' folder",
        path=str(_PACKAGE / "data" / name),
        hint="install edgecomp again",
    )
