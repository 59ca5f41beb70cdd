"""Temporary folders: what is left over is removed, what is used is not."""

import os
import pathlib
import signal
import subprocess
import sys

from edgecomp.held import create_held, remove_abandoned, scratch_folder

ROOT = pathlib.Path(__file__).parents[1]


def killed(code):
    """Run code in a process that kills itself at the end."""
    code += "\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], check=False, env=environment)
    assert done.returncode == -signal.SIGKILL


def test_what_is_held_stays_and_what_is_not_goes(tmp_path):
    folder, lock = create_held(tmp_path, "x-")
    (folder / "file").write_text("used")
    killed(
        "import pathlib\nfrom edgecomp.held import create_held\n"
        f"folder, lock = create_held(pathlib.Path({str(tmp_path)!r}), 'x-')\n"
        "(folder / 'file').write_text('left over')\n"
    )
    (tmp_path / "x-file").write_text("nobody holds it")
    (tmp_path / "other").mkdir()
    (tmp_path / "x-link").symlink_to(tmp_path / "other")
    assert len(list(tmp_path.glob("x-*"))) == 4
    remove_abandoned(tmp_path, "x-")
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, "other", "x-link"}
    assert (folder / "file").read_text() == "used"
    os.close(lock)
    remove_abandoned(tmp_path, "x-", suffix=".part")
    assert folder.exists()
    remove_abandoned(tmp_path, "x-")
    assert not folder.exists()
    remove_abandoned(tmp_path / "nowhere", "x-")


def test_a_scratch_folder_is_private_and_goes(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder() as folder:
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").write_text("x")
    assert list(tmp_path.iterdir()) == []
