"""CUDA C through nvcc: every image of the targets, and what is said where that cannot be done."""

import stat

import numpy as np
import pytest
from helpers.cuda import require_nvcc

from edgecomp.device.load import load_target
from edgecomp.errors import Code, EdgecompError
from edgecomp.lower import nvcc
from edgecomp.lower.nvcc import compile_images, find_nvcc, nvcc_identity
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import MatrixMultiply
from edgecomp.plan.values import Value
from edgecomp.schedules.cuda.text import cuda_source
from edgecomp.schedules.gpu import matrix_multiply

#: Begins a fat binary: "fatbinary_internal.h" of CUDA.
_MAGIC = b"\x50\xed\x55\xba"
_OLDEST = "sm_75"


@pytest.fixture(scope="module")
def text():
    """A product of 8-bit values."""
    rng = np.random.default_rng(0)
    values = [
        Value("x", (4, 12), "float32"),
        Value("w", (12, 9), "float32", constant=rng.standard_normal((12, 9), np.float32)),
        Value("b", (9,), "float32", constant=np.zeros(9, np.float32)),
    ]
    operation = Operation(MatrixMultiply(), values, [Value("y", (4, 9), "float32")])
    calls = matrix_multiply.emit(operation, load_target("cuda-sm90"))
    return cuda_source([call.kernel for call in calls])


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """An empty folder on the path, for programs in the place of nvcc."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_PATH", raising=False)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    (tmp_path / "bin").mkdir()

    def write(script):
        path = tmp_path / "bin" / "nvcc"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return write


@pytest.mark.parametrize("target", ["cuda-sm90", "jetson-orin", "jetson-xavier", _OLDEST])
def test_images(target, text, tmp_path):
    require_nvcc()
    images = (_OLDEST,) if target == _OLDEST else load_target(target).gpu.images
    missing = set(images) - find_nvcc().images
    if missing:
        with pytest.raises(
            EdgecompError, match=f"does not compile for {missing.pop()}"
        ) as info:
            compile_images(text, images, tmp_path)
        assert info.value.code is Code.TOOLCHAIN_MISSING
        assert "sm_72 needs 12.9 or older" in info.value.hint
        pytest.skip(f"this machine's nvcc does not know {images}")
    binary, version = compile_images(text, images, tmp_path)
    assert binary.startswith(_MAGIC)
    assert version >= 1100


def test_what_was_compiled_is_kept(text, tmp_path, monkeypatch):
    require_nvcc()
    first = compile_images(text, [_OLDEST], tmp_path)
    monkeypatch.setattr(nvcc, "_run", None)
    assert compile_images(text, [_OLDEST], tmp_path) == first


def test_what_it_says_is_passed_on(tmp_path):
    require_nvcc()
    with pytest.raises(EdgecompError, match="nvcc does not compile the kernels") as info:
        compile_images("no C", [_OLDEST], tmp_path)
    assert info.value.code is Code.TOOLCHAIN_FAILED
    assert "kernels.cu(1)" in info.value.cause


def test_without_nvcc(programs, monkeypatch, tmp_path):
    monkeypatch.setattr(nvcc, "_LAST_PLACE", str(tmp_path / "none"))
    with pytest.raises(EdgecompError, match="nvcc, which is not installed") as info:
        find_nvcc()
    assert info.value.code is Code.TOOLCHAIN_MISSING
    assert "CUDA_HOME" in info.value.hint


def test_one_that_is_something_else(programs):
    programs("echo hello")
    with pytest.raises(EdgecompError, match="does not say its version"):
        find_nvcc()


def test_a_release_that_is_older(programs, text, tmp_path):
    programs("echo Cuda compilation tools, release 12.6, V12.6.1 sm_72 sm_87 compute_72")
    assert find_nvcc().version == 1260
    assert {"sm_72", "compute_72"} <= find_nvcc().images
    with pytest.raises(EdgecompError, match=r"nvcc 12\.6 does not compile for sm_90"):
        compile_images(text, ["sm_90"], tmp_path)


def test_what_a_build_depends_on(programs, monkeypatch):
    """Another release of the compiler is another build."""
    monkeypatch.setattr(nvcc, "_LAST_PLACE", "/nowhere/nvcc")
    assert nvcc_identity() == ""
    programs("echo release 13.0")
    assert nvcc_identity() == "release 13.0\n"
