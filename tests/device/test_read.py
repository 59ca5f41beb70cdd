"""Target files: what is refused, and how the message reads."""

import pathlib

import pytest

from edgecomp.device import read
from edgecomp.device.read import read_target
from edgecomp.errors import Code, EdgecompError
from edgecomp.resources import resource_folder

GOOD = (resource_folder("targets") / "raspberry-pi-4.toml").read_text()


def refusal(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(EdgecompError) as info:
        read_target(path)
    error = info.value
    assert error.code is Code.TARGET_INVALID
    assert error.path == str(path)
    return error


def test_a_file_gives_every_field(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    target = read_target(path)
    assert target.name == "raspberry-pi-4"
    assert target.tvm["mcpu"] == "cortex-a72"
    assert target.core.features == {"neon"}
    assert target.core.l2_bytes == 256 * 1024
    assert target.board.cores == target.threads == 4
    assert target.emulator.arguments == ("-cpu", "cortex-a72")
    assert target.has("neon")
    assert not target.has("dotprod")
    assert target.lanes(8) == 16


@pytest.mark.parametrize(
    ("old", "new", "cause", "hint"),
    [
        ("l2_bytes = 262144", "l2_byte = 262144", "core.l2_byte: unknown key", "'l2_bytes'"),
        ("l2_bytes = 262144", "l2_byte = 262144", "unknown key", "vector_bits"),
        ("[board]", "[bord]", "bord: unknown key", "'board'"),
        ("vector_bits = 128\n", "", "core.vector_bits: missing", ""),
        (
            "vector_bits = 128",
            'vector_bits = "128"',
            "core.vector_bits: expected an integer",
            "",
        ),
        (
            "vector_bits = 128",
            "vector_bits = true",
            "core.vector_bits: expected an integer",
            "",
        ),
        ("l2_bytes = 262144", "l2_bytes = 0", "core.l2_bytes: expected a positive number", ""),
        ("cores = 4", "cores = -4", "board.cores: expected a positive number", ""),
        (
            'features = ["neon"]',
            'features = ["nean"]',
            "core.features: unknown 'nean'",
            "neon",
        ),
        ('features = ["neon"]', 'features = "neon"', "core.features: expected a list", ""),
        ('features = ["neon"]', "features = [1]", "core.features[0]: expected text", ""),
        ('isa = "aarch64"', 'isa = "arm64"', "core.isa: unknown 'arm64'", "aarch64"),
        ('dtype = "int8"', 'dtype = "int4"', "activation_dtype: unknown 'int4'", "uint8"),
        ('kind = "llvm"', 'kind = "opencl"', "tvm.kind: expected 'llvm'", ""),
        ('kind = "llvm"', 'kind = "llvm"\nhost = "llvm"', "tvm: unknown 'host'", "mcpu"),
        ('"raspberry-pi-4"', '"Raspberry Pi 4"', "'Raspberry Pi 4' is not lower case", ""),
        ("schema = 1", "schema = 2", "schema: expected 1, found 2", "update edgecomp"),
        ("schema = 1", "", "schema: expected 1, found None", "schema = 1"),
        (
            '"core.l2_bytes" =',
            '"core.l3_bytes" =',
            'sources."core.l3_bytes": the file has no',
            "",
        ),
        ("[core]", "[core", "cannot be read as TOML", ""),
    ],
)
def test_a_mistake_is_named(tmp_path, old, new, cause, hint):
    assert old in GOOD
    error = refusal(tmp_path, GOOD.replace(old, new, 1))
    assert cause in error.cause
    assert hint in error.hint


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EdgecompError) as info:
        read_target(path)
    assert info.value.code is Code.TARGET_INVALID


def test_a_missing_file(tmp_path):
    with pytest.raises(EdgecompError) as info:
        read_target(tmp_path / "none.toml")
    assert info.value.code is Code.FILE_MISSING


def test_a_variable_in_a_compiler_is_filled_in(tmp_path, monkeypatch):
    text = (resource_folder("targets") / "android-arm64.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text)
    monkeypatch.delenv("ANDROID_NDK_HOME", raising=False)
    assert read_target(path).toolchain.compilers == ("aarch64-linux-android24-clang",)
    monkeypatch.setenv("ANDROID_NDK_HOME", "/opt/ndk")
    first = pathlib.Path(read_target(path).toolchain.compilers[0])
    assert first.is_relative_to("/opt/ndk")


@pytest.mark.parametrize("isa", ["aarch64", "x86_64"])
def test_native_compilers_come_first_where_they_fit(tmp_path, monkeypatch, isa):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    monkeypatch.setattr(read, "host_isa", lambda: isa)
    monkeypatch.setattr(read.sys, "platform", "linux")
    compilers = read_target(path).toolchain.compilers
    assert (compilers[0] == "cc") == (isa == "aarch64")
    assert compilers[-1] == "aarch64-linux-gnu-gcc"


@pytest.mark.parametrize(
    ("machine", "pointer_bytes", "isa"),
    [
        ("x86_64", 8, "x86_64"),
        ("AMD64", 8, "x86_64"),
        ("x86_64", 4, "x86"),
        ("arm64", 8, "aarch64"),
        ("aarch64", 4, "armv7"),
        ("armv7l", 4, "armv7"),
        ("riscv64", 8, "riscv64"),
    ],
)
def test_host_isa_is_that_of_the_process(monkeypatch, machine, pointer_bytes, isa):
    monkeypatch.setattr(read.platform, "machine", lambda: machine)
    monkeypatch.setattr(read.struct, "calcsize", lambda _: pointer_bytes)
    assert read.host_isa() == isa
