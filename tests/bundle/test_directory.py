"""Output folders appear whole or not at all."""

import os
import signal
import subprocess
import sys

import pytest

from edgecomp.bundle.directory import staged_directory
from edgecomp.errors import Code, EdgecompError


def _fail(final, error):
    with staged_directory(final, force=False) as folder:
        (folder / "half").write_text("x")
        raise error


def _write(final, text="new", force=False):
    with staged_directory(final, force=force) as folder:
        (folder / "manifest.json").write_text(text)


def _names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_result_appears_at_the_end(tmp_path):
    final = tmp_path / "deep" / "model"
    with staged_directory(final, force=False) as folder:
        (folder / "manifest.json").write_text("x")
        assert not final.exists()
        assert folder.parent == final.parent  # the same file system, or the rename is a copy
    assert (final / "manifest.json").read_text() == "x"
    assert _names(final.parent) == ["model"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, EdgecompError])
def test_nothing_is_left_of_a_failed_build(tmp_path, error):
    raised = error(Code.INTERNAL, "x") if error is EdgecompError else error("x")
    with pytest.raises(error):
        _fail(tmp_path / "model", raised)
    assert _names(tmp_path) == []


def test_existing_output_is_refused(tmp_path):
    final = tmp_path / "model"
    _write(final, "old")
    with pytest.raises(EdgecompError) as caught:
        _write(final)
    assert caught.value.code is Code.OUTPUT_EXISTS
    assert "--force" in caught.value.hint
    assert (final / "manifest.json").read_text() == "old"


def test_force_replaces_a_bundle(tmp_path):
    _write(tmp_path / "model", "old")
    _write(tmp_path / "model", "new", force=True)
    assert (tmp_path / "model" / "manifest.json").read_text() == "new"
    assert _names(tmp_path) == ["model"]


def test_force_keeps_the_old_bundle_when_the_build_fails(tmp_path):
    _write(tmp_path / "model", "old")
    with pytest.raises(RuntimeError), staged_directory(tmp_path / "model", force=True):
        raise RuntimeError
    assert (tmp_path / "model" / "manifest.json").read_text() == "old"
    assert _names(tmp_path) == ["model"]


def test_force_does_not_remove_what_is_not_a_bundle(tmp_path):
    final = tmp_path / "photos"
    final.mkdir()
    (final / "cat.jpg").write_text("meow")
    with pytest.raises(EdgecompError, match="not a bundle"):
        _write(final, force=True)
    assert (final / "cat.jpg").exists()
    plain = tmp_path / "file"
    plain.write_text("x")
    with pytest.raises(EdgecompError, match="not a bundle"):
        _write(plain, force=True)


@pytest.mark.parametrize("step", ["writing", "between the renames"])
def test_next_build_cleans_up_after_a_killed_one(tmp_path, step):
    final = tmp_path / "model"
    _write(final, "old")
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    script = (
        "import pathlib\n"
        "from edgecomp.bundle import directory\n"
        f"final = pathlib.Path({str(final)!r})\n"
        "def die():\n"
        f"    {kill}\n"
    )
    if step == "writing":
        script += (
            "with directory.staged_directory(final, force=True) as folder:\n"
            "    (folder / 'half').write_text('x')\n"
            "    die()\n"
        )
    else:
        script += (
            "real = pathlib.Path.rename\n"
            "def rename(self, target):\n"
            "    if pathlib.Path(target) == final: die()\n"
            "    return real(self, target)\n"
            "pathlib.Path.rename = rename\n"
            "with directory.staged_directory(final, force=True) as folder:\n"
            "    (folder / 'manifest.json').write_text('never')\n"
        )
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert done.returncode == -signal.SIGKILL
    assert len(_names(tmp_path)) >= 2 - (step != "writing")

    with pytest.raises(EdgecompError) as caught:  # the old bundle is there, or comes back
        _write(final)
    assert caught.value.code is Code.OUTPUT_EXISTS
    assert (final / "manifest.json").read_text() == "old"
    _write(final, "new", force=True)
    assert _names(tmp_path) == ["model"]
    assert (final / "manifest.json").read_text() == "new"


def test_a_living_build_is_not_cleaned_away(tmp_path):
    final = tmp_path / "model"
    with staged_directory(final, force=False) as folder:
        (folder / "manifest.json").write_text("first")
        script = (
            "import pathlib\n"
            "from edgecomp.bundle import directory\n"
            f"with directory.staged_directory(pathlib.Path({str(final)!r}), force=True) as f:\n"
            "    (f / 'manifest.json').write_text('second')\n"
        )
        subprocess.run(
            [sys.executable, "-c", script],
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        assert (folder / "manifest.json").read_text() == "first"
        assert (final / "manifest.json").read_text() == "second"
        with pytest.raises(EdgecompError):
            _write(final)
        # Leaving the block finds the output taken.
        (final / "manifest.json").unlink()
        final.rmdir()
    assert (final / "manifest.json").read_text() == "first"


def test_disk_errors_are_explained(tmp_path):
    with pytest.raises(EdgecompError) as caught:
        _fail(tmp_path / "model", OSError(28, "No space left on device"))
    assert caught.value.code is Code.OUTPUT_UNWRITABLE
    assert "No space left" in caught.value.cause
    assert _names(tmp_path) == []


def test_parent_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(EdgecompError) as caught:
        _write(tmp_path / "file" / "model")
    assert caught.value.code is Code.OUTPUT_UNWRITABLE
