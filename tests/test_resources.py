"""Data files are found in the repository and in an installed wheel."""

import json
import pathlib
import subprocess
import sys
import zipfile

import pytest

from edgecomp import resources
from edgecomp.errors import Code, EdgecompError

ROOT = pathlib.Path(__file__).parents[1]


def test_the_repository():
    assert resources.resource_folder("targets") == ROOT / "targets"
    assert (resources.resource_folder("runtime") / "include/edgecomp/model.h").is_file()


def test_a_broken_installation(monkeypatch, tmp_path):
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "edgecomp")
    with pytest.raises(EdgecompError) as info:
        resources.resource_folder("targets")
    assert info.value.code is Code.INTERNAL


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    hatchling = pytest.importorskip(
        "hatchling.builders.wheel", reason="hatchling builds wheels"
    )
    folder = tmp_path_factory.mktemp("wheel")
    (path,) = hatchling.WheelBuilder(str(ROOT)).build(
        directory=str(folder), versions=["standard"]
    )
    return pathlib.Path(path)


def test_the_wheel_carries_everything_once(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names))
    for folder in ("targets", "runtime"):
        own = {
            p.relative_to(ROOT).as_posix()
            for p in (ROOT / folder).rglob("*")
            if p.is_file() and "build" not in p.parts
        }
        assert own <= {n.removeprefix("edgecomp/data/") for n in names}
    package = {
        p.relative_to(ROOT).as_posix()
        for p in (ROOT / "edgecomp").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert package <= set(names)
    assert not [n for n in names if n.startswith(("tests/", "docs/")) or "__pycache__" in n]
    assert any(n.endswith("licenses/LICENSE") for n in names)


def test_an_installed_wheel_finds_its_data(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import json, edgecomp, edgecomp.resources as r\n"
        "from edgecomp.device.load import list_targets\n"
        "print(json.dumps([edgecomp.__file__, str(r.resource_folder('runtime')),"
        " len(list_targets())]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    package, runtime, count = json.loads(done.stdout)
    assert pathlib.Path(package).is_relative_to(tmp_path)
    assert pathlib.Path(runtime) == tmp_path / "edgecomp/data/runtime"
    assert count == len(list((ROOT / "targets").glob("*.toml")))
