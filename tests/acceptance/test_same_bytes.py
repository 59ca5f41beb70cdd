"""Two builds of one model, each by a process of its own with an empty cache: the same bytes."""

import hashlib
import os
import shutil
import subprocess
import sys

import numpy as np
from helpers.models import DIGITS, REPOSITORY, digits_data
from helpers.targets import reason_not_runnable

from edgecomp.device.load import load_target

#: The trained network as a user's own module.
_MODULE = f"""
import sys
import safetensors.torch
import torch
sys.path.insert(0, {str(REPOSITORY / "examples" / "digits")!r})
from model import DigitsNet

def digits():
    module = DigitsNet()
    module.load_state_dict(safetensors.torch.load_file({str(DIGITS / "digits.safetensors")!r}))
    return module.eval(), (torch.zeros(1, 1, 28, 28),)
"""


def build(target, folder, order):
    """The whole way from torch; ``order`` seeds the order of Python's sets."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.py").write_text(_MODULE)
    np.save(folder / "images.npy", digits_data()[2][:32])
    command = [sys.executable, "-m", "edgecomp", "build", "net.py:digits", "--target", target]
    command += [
        "--precision",
        "w8a8",
        "--calibration-data",
        "images.npy",
        "--output",
        "bundle",
    ]
    command += ["--cache-dir", "cache", "--quiet"]
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONHASHSEED": str(order), "PYTHONPATH": path}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "bundle"


def contents(folder):
    """Path in the bundle -> hash."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_two_builds_give_the_same_bytes(tmp_path, figure):
    name = "host" if reason_not_runnable(load_target("raspberry-pi-5")) else "raspberry-pi-5"
    found = [
        contents(build(name, tmp_path / place, order))
        for order, place in ((1, "one"), (2, "some/where else"))
    ]
    different = sorted(
        path
        for path in set(found[0]) | set(found[1])
        if found[0].get(path) != found[1].get(path)
    )
    figure(
        f"two builds of the digits network in int8 for {name}",
        f"{len(different)} of {len(found[0])} files differ",
        "0",
    )
    assert not different


def test_known_kernels_give_the_same_bytes(tmp_path):
    first = contents(build("host", tmp_path / "one", 1))
    cache = tmp_path / "two" / "cache"
    shutil.copytree(tmp_path / "one" / "cache", cache)
    objects = {path.name for path in (cache / "objects").iterdir()}
    assert contents(build("host", tmp_path / "two", 2)) == first
    assert objects == {path.name for path in (cache / "objects").iterdir()}
