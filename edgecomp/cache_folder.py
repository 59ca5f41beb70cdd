"""Where compiled and temporary things are kept."""

import os
import pathlib


def cache_folder() -> pathlib.Path:
    """``$EDGECOMP_CACHE_DIR``, else ``edgecomp`` in the user's cache folder."""
    root = os.environ.get("EDGECOMP_CACHE_DIR")
    if root:
        return pathlib.Path(root)
    base = os.environ.get("XDG_CACHE_HOME")
    return (pathlib.Path(base) if base else pathlib.Path.home() / ".cache") / "edgecomp"
