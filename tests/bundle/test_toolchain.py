"""Which compiler is chosen, and what is said when there is none or it fails."""

import dataclasses
import importlib.util
import shutil
import stat

import pytest
from helpers.small_plan import without_compiler
from helpers.targets import A53, AVX2

from edgecomp.bundle import toolchain
from edgecomp.bundle.toolchain import find_compiler, missing_hint
from edgecomp.errors import Code, EdgecompError


def _with(target, **fields):
    return dataclasses.replace(
        target, toolchain=dataclasses.replace(target.toolchain, **fields)
    )


def _program(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.fixture
def host_compiler():
    compiler = find_compiler(AVX2)
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    return compiler


def test_the_first_that_answers_wins(tmp_path):
    broken = _program(tmp_path, "broken-cc", "exit 1")
    good = _program(tmp_path, "good-cc", "echo good 1.0; echo more")
    other = _program(tmp_path, "other-cc", "echo other 2.0")
    target = _with(AVX2, compilers=("no-such-cc", broken, good, other))
    compiler = find_compiler(target)
    assert compiler.command == (good,)
    assert compiler.identity == "good 1.0"


def test_zig_comes_last_or_alone():
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed (pip install ziglang)")
    late = find_compiler(_with(A53, compilers=()))
    assert late.command[-2:] == ("-target", "aarch64-linux-gnu.2.28")
    assert find_compiler(A53, "zig") == late
    assert find_compiler(_with(A53, zig_target=""), "zig") is None


def test_none_is_none():
    assert find_compiler(AVX2, "none") is None
    assert find_compiler(without_compiler(AVX2)) is None


def test_hints():
    assert missing_hint(without_compiler(AVX2)) == "install no-such-cc"
    assert "pip install ziglang" in missing_hint(_with(A53, install="apt install x"))
    assert "CMakeLists.txt" in missing_hint(_with(A53, compilers=(), zig_target=""))


def test_a_cross_compiler_has_its_own_archiver():
    name = A53.toolchain.compilers[0]
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    (archiver,) = find_compiler(A53).archiver
    assert "aarch64" in archiver


def test_compile_errors_are_shown(host_compiler, tmp_path):
    (tmp_path / "bad.c").write_text("int main(void) { return nonsense; }\n")
    with pytest.raises(EdgecompError, match="nonsense") as caught:
        host_compiler.compile("bad.c", "bad.o", (), tmp_path)
    assert caught.value.code is Code.TOOLCHAIN_FAILED
    (tmp_path / "missing.c").write_text("int gone(void);\nint main(void) { return gone(); }\n")
    host_compiler.compile("missing.c", "missing.o", (), tmp_path)
    with pytest.raises(EdgecompError, match="gone"):
        host_compiler.link_program(["missing.o"], "out", tmp_path, static=False)


def test_no_path_of_this_machine_enters_an_object(host_compiler, tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.c").write_text("const char *where(void) { return __FILE__; }\n")
    host_compiler.compile("src/a.c", "a.o", (), tmp_path)
    content = (tmp_path / "a.o").read_bytes()
    assert b"src/a.c" in content
    assert str(tmp_path).encode() not in content


def test_a_compiler_that_cannot_be_started(tmp_path):
    gone = _program(tmp_path, "gone-cc", "echo gone 1")
    compiler = find_compiler(_with(AVX2, compilers=(gone,)))
    (tmp_path / "gone-cc").unlink()
    with pytest.raises(EdgecompError) as caught:
        compiler.compile("a.c", "a.o", (), tmp_path)
    assert caught.value.code is Code.TOOLCHAIN_FAILED
    assert toolchain.find_compiler(_with(AVX2, compilers=(gone,), zig_target="")) is None
