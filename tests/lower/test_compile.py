import dataclasses
import errno
import os

import pytest

from edgecomp.device.load import load_target
from edgecomp.lower import codegen
from edgecomp.lower import compile as compile_module
from edgecomp.lower.compile import compile_kernels
from edgecomp.schedules.builder import KernelBuilder, load


@pytest.fixture(scope="module")
def target():
    return load_target("x86-64-v3")


def add_kernel(number):
    builder = KernelBuilder()
    x = builder.pointer("x", "float32", 64)
    with builder.loop("i", builder.lo, builder.hi) as i:
        builder.store(x, i, load(x, i) + number)
    return builder.finish("add")


@pytest.fixture
def compiled(monkeypatch):
    """Symbols compiled in this process."""
    symbols = []
    compile_to_object = codegen.compile_to_object

    def watched(kernel, target):
        symbols.append(kernel.symbol)
        return compile_to_object(kernel, target)

    monkeypatch.setattr(codegen, "compile_to_object", watched)
    return symbols


def test_where_no_process_starts_this_one_compiles(
    target, tmp_path, compiled, monkeypatch, caplog
):
    def no_fork():
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", no_fork)
    kernels = [add_kernel(float(number)) for number in range(4)]
    found = compile_kernels(kernels, target, cache=tmp_path, workers=2)
    assert compiled == [kernel.symbol for kernel in kernels]
    assert set(found) == set(compiled)
    assert os.strerror(errno.EAGAIN) in caplog.text


def test_kernels_that_are_known_are_not_made_again(target, tmp_path, compiled):
    first = compile_kernels([add_kernel(1.0)], target, cache=tmp_path, workers=1)
    again = add_kernel(1.0)
    second = compile_kernels([again], target, cache=tmp_path, workers=1)
    assert first == second
    assert len(compiled) == 1
    assert "function" not in vars(again)


def test_another_constant_is_another_kernel(target, tmp_path, compiled):
    for number in (1.0, 1.0000001, 1):
        compile_kernels([add_kernel(number)], target, cache=tmp_path, workers=1)
    assert len(compiled) == len(set(compiled)) == 3


@pytest.mark.parametrize("damage", ["flipped", "cut off", "empty"])
def test_a_damaged_object_is_made_again(target, tmp_path, compiled, damage):
    first = compile_kernels([add_kernel(1.0)], target, cache=tmp_path, workers=1)
    (path,) = (tmp_path / "objects").iterdir()
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes({"flipped": content, "cut off": content[:-50], "empty": b""}[damage])
    assert compile_kernels([add_kernel(1.0)], target, cache=tmp_path, workers=1) == first
    assert len(compiled) == 2


def test_what_makes_objects_is_part_of_their_key(target, tmp_path, compiled, monkeypatch):
    compile_kernels([add_kernel(1.0)], target, cache=tmp_path, workers=1)
    other = dataclasses.replace(target, tvm={**target.tvm, "mcpu": "skylake"})
    compile_kernels([add_kernel(1.0)], other, cache=tmp_path, workers=1)
    monkeypatch.setattr(compile_module, "_pipeline", lambda: ("another TVM",))
    compile_kernels([add_kernel(1.0)], target, cache=tmp_path, workers=1)
    assert len(compiled) == 3
    assert len(list((tmp_path / "objects").iterdir())) == 3


def test_the_sources_that_drive_tvm_are_there():
    assert len(compile_module._pipeline()) == 2 + len(compile_module._SOURCES)


def test_processes_give_the_same_objects(target, tmp_path):
    kernels = [add_kernel(float(number)) for number in range(4)]
    alone = compile_kernels(kernels, target, cache=tmp_path / "1", workers=1)
    shared = compile_kernels(kernels, target, cache=tmp_path / "2", workers=2)
    two = compile_kernels(kernels[:2], target, cache=tmp_path / "3", workers=2)
    assert alone == shared
    assert two.items() <= alone.items()
