"""Contents for a bundle's inputs: wrong name, shape, dtype or file."""

import numpy as np
import pytest

from edgecomp.errors import Code


def array(shape=(1, 3, 8, 9), dtype=np.float32):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@pytest.fixture
def refused_input(refused, folder, built):
    def check(given, code, *words):
        return refused(("run", built, "-i", given), code, *words)

    return check


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (array((1, 3, 9, 8)), ["float32[1, 3, 9, 8]", "float32 1x3x8x9", "transpose"]),
        (array((2, 3, 8, 9)), ["float32[2, 3, 8, 9]", "float32 1x3x8x9", "fixed"]),
        (array((3, 8, 9)), ["float32[3, 8, 9]", "reshape"]),
        (array(()), ["float32[]"]),
        (array((1, 3, 8, 0)), ["float32[1, 3, 8, 0]"]),
        (array(dtype=np.float64), ["float64[1, 3, 8, 9]", "astype('float32')"]),
        (array(dtype=np.uint8), ["uint8[1, 3, 8, 9]", "astype('float32')"]),
        (np.array(["text"]), ["node x"]),
    ],
)
def test_shape_and_dtype(refused_input, wrong, words):
    np.save("a.npy", wrong)
    for given in ("a.npy", "x=a.npy"):
        refused_input(given, Code.INPUT_MISMATCH, "node x", "a.npy", *words)


def test_names(refused_input):
    np.save("a.npy", array())
    refused_input("y=a.npy", Code.INPUT_MISMATCH, "no input named 'y'", "known: x")
    np.savez("a.npz", X=array())
    refused_input("a.npz", Code.INPUT_MISMATCH, "'X'", "a.npz", "x")
    np.savez("a.npz", x=array(), z=array())
    refused_input("a.npz", Code.INPUT_MISMATCH, "'z'", "a.npz", "x")


def test_no_input(refused, folder, built):
    refused(("run", built), Code.INPUT_MISMATCH, "'x'", "float32 1x3x8x9", "--input-file x=")


def test_an_input_given_twice(refused, folder, built):
    np.save("a.npy", array())
    command = ("run", built, "-i", "x=a.npy", "-i", "x=a.npy")
    refused(command, Code.USAGE, "'x' is given twice")


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("none.npy", None, Code.FILE_MISSING),
        ("a.npy", b"text", Code.USAGE),
        ("a.npy", b"", Code.USAGE),
        ("a.npz", b"PK\x03\x04", Code.USAGE),
        ("a.bin", b"abc", Code.INPUT_MISMATCH),
        ("a.png", b"not a picture", Code.USAGE),
        ("a.csv", b"1,2,3", Code.USAGE),
    ],
)
def test_files(refused_input, folder, name, content, code):
    if content is not None:
        (folder / name).write_bytes(content)
    refused_input(name, code, name)


def test_a_device_that_is_none(refused, folder, built):
    np.save("a.npy", array())
    command = ("run", built, "-i", "a.npy", "--device")
    refused((*command, "quemu"), Code.USAGE, "quemu", "'qemu'")
    refused((*command, "qemu"), Code.DEVICE_UNREACHABLE, "'host' has no emulator")


def test_outputs_that_cannot_be_written(refused, folder, built):
    np.save("a.npy", array())
    (folder / "file").write_text("mine")
    command = ("run", built, "-i", "a.npy", "-o")
    refused((*command, "file"), Code.OUTPUT_UNWRITABLE, "file")
    refused((*command, "file/deeper"), Code.OUTPUT_UNWRITABLE, "file")
