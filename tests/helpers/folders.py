"""Folders that helpers share between tests of a process."""

import atexit
import pathlib
import shutil
import tempfile


def folder_of_the_process(prefix):
    """A new folder that is removed when the process ends."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=prefix))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
