"""Builds that are ended from outside, at several moments, and the builds after them."""

import os
import signal
import sys
import time

import numpy as np
import onnx
import pytest
from helpers.bad_input import model_of
from helpers.prefork import Server

from edgecomp.cache_folder import cache_folder

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="processes are looked for in /proc"
)

PATIENCE_S = 60

#: Several convolutions: enough kernels that processes compile them.
MODEL = """
<ir_version: 10, opset_import: ["" : 18]>
chain (float[1, 3, 12, 13] x) => (float[1, 7, 4, 5] y)
{
  c = Conv (x, w0)
  s = Softplus (c)
  d = Conv (s, w1)
  t = Sin (d)
  e = Conv (t, w2)
  u = Atan (e)
  f = Conv (u, w3)
  y = Softplus (f)
}
"""
CHANNELS = (3, 4, 5, 6, 7)


def whole(folder):
    return (folder / "bundle" / "manifest.json").exists()


def says(step):
    return lambda folder, process: f"{step} ..." in process.said()


def has_file(pattern):
    return lambda folder, process: any(folder.glob(f".bundle.building-*/{pattern}"))


def has_workers(folder, process):
    return len(process.family()) > 1


def has_kernels(folder, process):
    return any((folder / "cache" / "objects").glob("*.o"))


#: What is waited for before the signal is sent.
MOMENTS = {
    "reading": says("read the model"),
    "calibrating": says("calibrate"),
    "starting workers": has_workers,
    "keeping kernels": has_kernels,
    "writing weights": has_file("weights.bin"),
    "compiling the runtime": has_file(".build/*.o"),
    "linking": has_file("lib/*.so"),
}


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    shapes = zip(CHANNELS[1:], CHANNELS[:-1], strict=True)
    weights = {
        f"w{index}": rng.standard_normal((after, before, 3, 3)).astype(np.float32) / 4
        for index, (after, before) in enumerate(shapes)
    }
    return model_of(MODEL, **weights)


@pytest.fixture(scope="module")
def warm_cache(built):
    """Compiled sources of the runtime, which cost the most time; no kernels."""
    return cache_folder() / "runtime"


def place(folder, model):
    onnx.save(model, folder / "model.onnx")
    rng = np.random.default_rng(1)
    np.save(folder / "data.npy", rng.standard_normal((4, 3, 12, 13)).astype(np.float32))
    (folder / "temporary").mkdir()


def start(server, folder, *more):
    command = ["build", "model.onnx", "-o", "bundle", "--cache-dir", "cache", *more]
    command += ["--precision", "w8a8", "--calibration-data", "data.npy", "--num-samples", "4"]
    environment = {"TMPDIR": str(folder / "temporary")}
    return server.start(*command, folder=folder, environment=environment)


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"in vain waited for: {what}"
        time.sleep(0.001)


def left_over(folder):
    """What is neither the user's nor a result nor the cache."""
    known = {"model.onnx", "data.npy", "temporary", "cache", "bundle", "runtime"}
    beside = [p.name for p in folder.iterdir() if p.name not in known]
    beside = [name for name in beside if not name.startswith("stderr-")]
    temporary = [p.name for p in (folder / "temporary").iterdir()]
    parts = [str(p) for p in (folder / "cache").rglob("*.part")]
    return beside + temporary + parts


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=str)
def test_a_killed_build(server, model, warm_cache, tmp_path, moment, number):
    place(tmp_path, model)
    cache = tmp_path / "cache"
    cache.mkdir()
    if moment != "compiling the runtime":
        (cache / "runtime").symlink_to(warm_cache)
    process = start(server, tmp_path)
    reached = MOMENTS[moment]
    wait_for(
        lambda: reached(tmp_path, process) or not process.is_running(),
        f"{moment}: {process.said()}",
    )
    signal_sent = send(process, number)
    status = process.wait()
    if whole(tmp_path):  # it was faster than the signal
        assert status == 0 or signal_sent
    else:
        assert status == (-number if number == signal.SIGKILL else 128 + number), (
            process.said()
        )
        assert not (tmp_path / "bundle").exists()
    wait_for(lambda: not process.family(), "the end of its processes")
    if number == signal.SIGTERM:
        assert left_over(tmp_path) == []
        assert "Traceback" not in process.said()
        return
    after = start(server, tmp_path, "--force")
    assert after.wait() == 0, after.said()
    assert left_over(tmp_path) == []
    verified = server.start("verify", "bundle", folder=tmp_path)
    assert verified.wait() == 0, verified.said()


def send(process, number):
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def test_killed_while_it_replaces_a_bundle(server, model, warm_cache, tmp_path):
    """The older bundle is there, whole, whatever happens."""
    place(tmp_path, model)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "runtime").symlink_to(warm_cache)
    assert start(server, tmp_path).wait() == 0
    before = (tmp_path / "bundle" / "manifest.json").read_bytes()
    process = start(server, tmp_path, "--force", "--name", "other")
    wait_for(lambda: has_file("lib/*")(tmp_path, process), "linking")
    send(process, signal.SIGKILL)
    process.wait()
    assert (tmp_path / "bundle" / "manifest.json").read_bytes() == before
    assert server.start("verify", "bundle", folder=tmp_path).wait() == 0


def test_ctrl_c(server, model, warm_cache, tmp_path):
    """The whole group of processes gets it."""
    place(tmp_path, model)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "runtime").symlink_to(warm_cache)
    process = start(server, tmp_path)
    wait_for(lambda: has_workers(tmp_path, process), "workers")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait() == 130
    assert "error: EC0002: interrupted" in process.said()
    assert "Traceback" not in process.said()
    wait_for(lambda: not process.family(), "the end of its processes")
    assert left_over(tmp_path) == []
    assert not (tmp_path / "bundle").exists()
