"""Why a file that should hold arrays does not."""

import pathlib

#: How files of numpy.save and numpy.savez begin.
_BEGINNINGS = (b"\x93NUMPY", b"PK")


def why_unreadable(path: pathlib.Path, error: Exception) -> str:
    """What to say of a file that numpy could not read, without a final period.

    numpy takes every file that begins otherwise for a pickle, and proposes to load it unsafely.

    Args:
        path: of the file.
        error: what numpy or zipfile raised.
    """
    try:
        with path.open("rb") as file:
            content = file.read(len(_BEGINNINGS[0]))
    except OSError:
        content = b""
    if content and not content.startswith(_BEGINNINGS):
        return "it is neither a .npy nor a .npz file"
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
