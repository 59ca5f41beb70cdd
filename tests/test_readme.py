"""The README's commands, as they stand there."""

import importlib.util
import pathlib
import shlex
import shutil
import subprocess
import sys

import onnx_ir as ir
import PIL.Image
import pytest
from helpers.models import digits, digits_data
from helpers.targets import reason_not_runnable

from edgecomp.device.load import load_target

REPOSITORY = pathlib.Path(__file__).parents[1]


def command(name):
    path = REPOSITORY / ".ci" / "readme_command.py"
    spec = importlib.util.spec_from_file_location("readme_command", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.readme_command(name)


def run(arguments, folder):
    result = subprocess.run(
        arguments, cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, f"{arguments}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def test_the_main_example(tmp_path, figure):
    """What the first command runs after the installation."""
    text = command("main")
    script = text.rpartition(" && ")[2].split()[1:]
    assert script == ["examples/efficientnet_lite0/main.py"]
    output = run([sys.executable, str(REPOSITORY / script[0]), str(tmp_path)], tmp_path)
    for line in output.splitlines():
        figure("README example", line)
    assert "int8 is" in output


def test_ci_runs_the_test_command():
    text = (REPOSITORY / ".ci" / "run").read_text()
    assert "readme_command.py test" in text
    assert command("test").endswith("-m pytest -n auto --dist loadscope")


def test_the_commands_on_a_model_of_your_own(tmp_path):
    target = load_target("raspberry-pi-5")
    if reason := reason_not_runnable(target):
        pytest.skip(reason)
    ir.save(digits(), tmp_path / "model.onnx")
    (tmp_path / "images").mkdir()
    for index, image in enumerate(digits_data()[2][:16]):
        picture = PIL.Image.fromarray((image[0] * 255).astype("uint8"))
        picture.save(tmp_path / "images" / f"{index:02}.png")
    shutil.copy(tmp_path / "images" / "00.png", tmp_path / "photo.png")
    for line in command("own").splitlines():
        _, *arguments = shlex.split(line)
        run([sys.executable, "-m", "edgecomp", *arguments], tmp_path)
