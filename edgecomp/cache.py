"""Where compiled things are kept between runs."""

import os
import pathlib
import tempfile


def cache_folder() -> pathlib.Path:
    """``$EDGECOMP_CACHE_DIR``, else ``edgecomp`` in the user's cache folder."""
    root = os.environ.get("EDGECOMP_CACHE_DIR")
    if root:
        return pathlib.Path(root)
    base = os.environ.get("XDG_CACHE_HOME")
    return (pathlib.Path(base) if base else pathlib.Path.home() / ".cache") / "edgecomp"


def write_whole(path: pathlib.Path, content: bytes) -> None:
    """Write beside, then rename: a killed process leaves no half file in the cache."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        pathlib.Path(temporary).rename(path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise
