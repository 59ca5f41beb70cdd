"""A bundle of the hand-made plan for each kind of machine, built once."""

import pytest
from helpers.small_plan import write_small
from helpers.targets import A53, ARMV7, AVX2, reason_not_runnable


def _bundle(target, tmp_path_factory):
    if reason_not_runnable(target):
        pytest.skip(reason_not_runnable(target))
    return write_small(target, tmp_path_factory.mktemp(target.name) / "small")


@pytest.fixture(scope="session")
def host_bundle(tmp_path_factory):
    return _bundle(AVX2, tmp_path_factory)


@pytest.fixture(scope="session", params=[A53, ARMV7], ids=lambda t: t.name)
def emulated(request, tmp_path_factory):
    """(bundle, target)"""
    return _bundle(request.param, tmp_path_factory), request.param


class FakeBundle:
    """A bundle whose runner is a shell script."""

    name = "fake"
    inputs = ()
    outputs = ()
    golden = ()

    def __init__(self, folder, script):
        self.directory = folder
        self.weights_path = folder / "weights.bin"
        self.weights_path.write_bytes(b"weights")
        self.model_path = folder / "model.onnx"
        self.runner_path = folder / "runner"
        self.runner_path.write_text(f"#!/bin/sh\n{script}\n")
        self.runner_path.chmod(0o755)


@pytest.fixture
def fake_bundle(tmp_path):
    return lambda script: FakeBundle(tmp_path, script)
