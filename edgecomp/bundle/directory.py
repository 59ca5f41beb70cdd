"""A directory that appears whole or not at all.

Everything is written into a hidden sibling, which is renamed at the end. The sibling is held by
a file lock while it is written, so that the next build can tell the leftovers of a killed one
from the work of one that is still alive.
"""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator

from edgecomp.errors import Code, EdgecompError
from edgecomp.held import create_held, remove_abandoned
from edgecomp.writable import try_to_create, writable

MANIFEST = "manifest.json"


@contextlib.contextmanager
def staged_directory(final: pathlib.Path, *, force: bool) -> Iterator[pathlib.Path]:
    """Yield a folder to write into; it becomes ``final`` when the block ends without error.

    Args:
        final: where the result goes; missing parents are made.
        force: replace an existing bundle (or an empty folder, but never anything else).

    Raises:
        EdgecompError: OUTPUT_EXISTS, or OUTPUT_UNWRITABLE when the disk refuses.
    """
    with writable(final):
        _restore_replaced(final)
        check_free(final, force=force)
        final.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(final)
        staging, lock = create_held(final.parent, _prefix(final, "building"))
        try:
            yield staging
            check_free(final, force=force)
            _move_into_place(staging, final)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            os.close(lock)


def check_place(final: pathlib.Path, *, force: bool) -> None:
    """Raise, before any work is done, where ``staged_directory`` would in the end.

    Raises:
        EdgecompError: OUTPUT_EXISTS, OUTPUT_UNWRITABLE.
    """
    check_free(final, force=force)
    with writable(final):
        final = final.absolute()
        try_to_create(final.with_name(f"{_prefix(final, 'building')}{os.getpid()}-0"))


def check_free(final: pathlib.Path, *, force: bool) -> None:
    """Raise OUTPUT_EXISTS unless ``final`` is free or may be replaced."""
    if not os.path.lexists(final):
        return
    if not force:
        raise EdgecompError(
            Code.OUTPUT_EXISTS,
            "the output already exists",
            path=str(final),
            hint="choose another folder with -o, or replace it with --force",
        )
    if final.is_symlink() or not final.is_dir() or not _is_replaceable(final):
        raise EdgecompError(
            Code.OUTPUT_EXISTS,
            "the output already exists and is not a bundle, so it is not replaced",
            path=str(final),
            hint="choose another folder with -o",
        )


def _is_replaceable(folder: pathlib.Path) -> bool:
    return (folder / MANIFEST).is_file() or not any(folder.iterdir())


def _prefix(final: pathlib.Path, state: str) -> str:
    return f".{final.name}.{state}-"


def _leftovers(final: pathlib.Path, state: str) -> list[pathlib.Path]:
    if not final.parent.is_dir():
        return []
    prefix = _prefix(final, state)
    return sorted(p for p in final.parent.iterdir() if p.name.startswith(prefix))


def _remove_leftovers(final: pathlib.Path) -> None:
    remove_abandoned(final.parent, _prefix(final, "building"))
    for folder in _leftovers(final, "replaced"):
        shutil.rmtree(folder, ignore_errors=True)


def _restore_replaced(final: pathlib.Path) -> None:
    """A build killed between its two renames left the old bundle aside: put it back."""
    aside = _leftovers(final, "replaced")
    if aside and not os.path.lexists(final):
        aside[0].rename(final)


def _move_into_place(staging: pathlib.Path, final: pathlib.Path) -> None:
    if not os.path.lexists(final):
        staging.rename(final)
        return
    aside = final.parent / f"{_prefix(final, 'replaced')}{os.getpid()}"
    final.rename(aside)
    try:
        staging.rename(final)
    except OSError:
        aside.rename(final)
        raise
    shutil.rmtree(aside, ignore_errors=True)
