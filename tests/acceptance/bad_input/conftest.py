"""The command line on bad input: what it says, what it ends with, and what it leaves."""

import json
import pathlib
import tempfile

import onnx
import pytest
from helpers.bad_input import Result, check_message, contents, small_model

from edgecomp.cli.program import program


@pytest.fixture
def run(capfd):
    """run("build", "model.onnx", ...) -> Result; in this process, as the program does it."""

    def start(*arguments):
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            program.main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Result(int(ended.value.code or 0), out, err)

    return start


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with ``model.onnx`` in it; temporary files have one of their own."""
    here = tmp_path / "here"
    temporary = tmp_path / "temporary"
    here.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    onnx.save(small_model(), here / "model.onnx")
    return here


@pytest.fixture
def refused(run, folder):
    """refused(arguments, code, words...): the command is refused and changes no file.

    The same once more with ``--json``: the error is the result then, with its place.
    """

    def check(arguments, code, *words):
        before = contents(folder.parent)
        result = run(*arguments)
        check_message(result, code, *words)
        assert contents(folder.parent) == before
        said = run(*arguments, "--json", "--quiet")
        error = json.loads(said.out)["error"]
        assert (error["code"], error["exit_code"]) == (code.text, said.status)
        assert contents(folder.parent) == before
        return error

    return check


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A bundle of the small model for this machine; not to be changed."""
    import edgecomp.api
    from edgecomp.options import BuildOptions

    place = tmp_path_factory.mktemp("built")
    onnx.save(small_model(), place / "model.onnx")
    options = BuildOptions(output=place / "bundle")
    bundle = edgecomp.api.build(str(place / "model.onnx"), options)
    if bundle.library_path is None:
        pytest.skip(bundle.manifest.build.note)
    return pathlib.Path(bundle.directory)
