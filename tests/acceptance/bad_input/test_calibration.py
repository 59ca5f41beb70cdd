"""Calibration data that is empty, wrong, or not finite."""

import numpy as np
import PIL.Image
import pytest

from edgecomp.errors import Code

SHAPE = (3, 8, 9)


def rows(count=4, shape=SHAPE, dtype=np.float32):
    return np.random.default_rng(0).standard_normal((count, *shape)).astype(dtype)


def with_one(number):
    array = rows()
    array[2, 1, 3, 4] = number
    return array


ARRAYS = {
    "no rows": (rows(0), Code.CALIBRATION_EMPTY, ["samples"]),
    "no elements": (rows(4, (3, 8, 0)), Code.CALIBRATION_INVALID, ["[3, 8, 0]"]),
    "larger images": (rows(4, (3, 9, 9)), Code.CALIBRATION_INVALID, ["[1, 3, 8, 9]", "'x'"]),
    "channels last": (rows(4, (8, 9, 3)), Code.CALIBRATION_INVALID, ["[1, 3, 8, 9]", "'x'"]),
    "no dimensions": (np.float32(3), Code.CALIBRATION_INVALID, []),
    "pixels": (rows(dtype=np.uint8), Code.CALIBRATION_INVALID, ["uint8", "float32"]),
    "complex": (rows(dtype=np.complex64), Code.CALIBRATION_INVALID, ["complex64", "float32"]),
    "text": (np.array(["a", "b"]), Code.CALIBRATION_INVALID, []),
    "NaN": (with_one(np.nan), Code.CALIBRATION_INVALID, ["NaN", "sample 2", "'x'"]),
    "infinity": (with_one(np.inf), Code.CALIBRATION_INVALID, ["infinity", "sample 2"]),
}


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("verb", ["build", "quantize"])
def test_an_array(refused, folder, kind, verb):
    array, code, words = ARRAYS[kind]
    np.save("data.npy", array)
    arguments = {
        "build": ("build", "model.onnx", "-o", "bundle", "--precision", "w8a8"),
        "quantize": ("quantize", "model.onnx", "-o", "q.onnx"),
    }
    command = (*arguments[verb], "--calibration-data", "data.npy")
    error = refused(command, code, "data.npy", *words)
    assert error["exit_code"] == 11


SCRIPTS = {
    "fails at once": ("1 / 0", ["ZeroDivisionError", "data.py:1"]),
    "does not parse": ("def broken(:", ["SyntaxError", "data.py:1"]),
    "has no function": ("x = 3", ["get_calibration_data"]),
    "fails later": (
        "def get_calibration_data():\n    yield from ()\n    raise OSError('gone')",
        ["OSError: gone", "data.py:3"],
    ),
    "returns nothing": ("def get_calibration_data():\n    pass", ["NoneType"]),
    "names another input": (
        "def get_calibration_data():\n    yield {'y': 3.0}",
        ["'y'", "x"],
    ),
    "leaves": ("import sys\nsys.exit(3)", ["SystemExit", "data.py:2"]),
}


@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_script(refused, folder, kind):
    text, words = SCRIPTS[kind]
    (folder / "data.py").write_text(text)
    command = ("quantize", "model.onnx", "-o", "q.onnx", "--calibration-data", "data.py")
    refused(command, Code.CALIBRATION_INVALID, "data.py", *words)


def test_a_script_without_samples(refused, folder):
    (folder / "data.py").write_text("def get_calibration_data():\n    return []")
    command = ("quantize", "model.onnx", "-o", "q.onnx", "--calibration-data", "data.py")
    refused(command, Code.CALIBRATION_EMPTY, "data.py", "no samples")


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("data.npy", b"\x93NUMPY\x01\x00", Code.CALIBRATION_INVALID),
        ("data.npy", b"text", Code.CALIBRATION_INVALID),
        ("data.npz", b"PK\x03\x04 cut off", Code.CALIBRATION_INVALID),
        ("data.csv", b"1,2,3", Code.CALIBRATION_INVALID),
    ],
)
def test_a_file_that_is_no_data(refused, folder, name, content, code):
    (folder / name).write_bytes(content)
    command = ("quantize", "model.onnx", "-o", "q.onnx", "--calibration-data", name)
    refused(command, code, name)


def test_a_truncated_array(refused, folder):
    np.save("data.npy", rows())
    content = (folder / "data.npy").read_bytes()
    (folder / "data.npy").write_bytes(content[: len(content) // 2])
    command = ("quantize", "model.onnx", "-o", "q.onnx", "--calibration-data", "data.npy")
    refused(command, Code.CALIBRATION_INVALID, "data.npy")


def test_folders(refused, folder):
    command = ("quantize", "model.onnx", "-o", "q.onnx", "--calibration-data")
    refused((*command, "none"), Code.FILE_MISSING, "none")
    (folder / "images").mkdir()
    refused((*command, "images"), Code.CALIBRATION_EMPTY, "images", "no images")
    (folder / "images" / "a.png").write_bytes(b"not a picture")
    refused((*command, "images"), Code.CALIBRATION_INVALID, "a.png")
    PIL.Image.new("RGB", (9, 8)).save(folder / "images" / "a.png")
    np.save(folder / "images" / "b.npy", rows())
    refused((*command, "images"), Code.CALIBRATION_INVALID, "1 images and 1 arrays")


def test_no_data_at_all(refused):
    refused(("quantize", "model.onnx", "-o", "q.onnx"), Code.USAGE, "--calibration-data")
    command = ("build", "model.onnx", "-o", "bundle", "--precision", "w8a8")
    refused(command, Code.USAGE, "--calibration-data")


def test_nothing_is_left_of_what_was_there(run, folder):
    """A refused ``--force`` leaves the older result alone."""
    np.save("data.npy", with_one(np.nan))
    (folder / "q.onnx").write_bytes(b"the older one")
    command = ("quantize", "model.onnx", "-o", "q.onnx", "--calibration-data", "data.npy")
    assert run(*command, "--force").status == 11
    assert (folder / "q.onnx").read_bytes() == b"the older one"
