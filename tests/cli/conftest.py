"""Running verbs in this process."""

import json
import sys
import types

import click.testing
import pytest

import edgecomp
from edgecomp.cli.program import program


class Result:
    """What a command left.

    Attributes:
        status: of the process.
        out, err: text of stdout and stderr.
    """

    def __init__(self, result):
        self.status, self.out, self.err = result.exit_code, result.stdout, result.stderr

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def run():
    """run("build", "model.onnx", ...) -> Result."""

    def start(*arguments):
        result = click.testing.CliRunner().invoke(program, [str(a) for a in arguments])
        return Result(result)

    return start


@pytest.fixture
def api(monkeypatch):
    """A stand-in for edgecomp.api, to see what the verbs hand over."""
    module = types.ModuleType("edgecomp.api")
    monkeypatch.setitem(sys.modules, "edgecomp.api", module)
    monkeypatch.setattr(edgecomp, "api", module, raising=False)
    return module
