import dataclasses
import multiprocessing
import os
import signal
import sys

import pytest
from helpers.targets import AVX2

from edgecomp.errors import Code, EdgecompError
from edgecomp.lower import compile_ahead
from edgecomp.lower.compile import compile_kernels, compiling
from edgecomp.lower.compile_ahead import compiling_ahead
from edgecomp.schedules.builder import Kernel, KernelBuilder, load

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="processes are started ahead on Linux alone"
)


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """Although TVM is here already."""
    monkeypatch.setattr(compile_ahead, "_is_worth_it", lambda: True)


def kernel(terms):
    builder = KernelBuilder()
    x = builder.pointer("x", "float32", 64)
    with builder.loop("i", builder.lo, builder.hi) as i:
        total = load(x, i)
        for number in range(terms):
            total = total + float(number)
        builder.store(x, i, total)
    return builder.finish("add")


def compile_ahead_of(kernels, cache, before=lambda: None):
    with compiling_ahead() as ahead:
        ahead.start()
        before()
        with compiling(kernels, AVX2, cache=cache, workers=2, ahead=ahead) as finish:
            return finish()


def test_objects_are_the_same(tmp_path):
    kernels = [kernel(terms) for terms in (1, 2, 2000)]
    found = compile_ahead_of(kernels, tmp_path / "ahead")
    assert found == compile_kernels(kernels, AVX2, cache=tmp_path / "here", workers=1)
    assert len(list((tmp_path / "ahead" / "objects").iterdir())) == len(kernels)
    assert not multiprocessing.active_children()


def test_a_kernel_of_this_process(tmp_path):
    sent = kernel(1)
    own = Kernel(sent.symbol, lambda: sent.function)
    found = compile_ahead_of([own], tmp_path)
    assert found == compile_kernels([sent], AVX2, cache=tmp_path / "here", workers=1)


def test_nothing_to_compile(tmp_path):
    assert compile_ahead_of([], tmp_path) == {}
    assert not multiprocessing.active_children()


def test_errors_come_back(tmp_path):
    wrong = dataclasses.replace(kernel(1), make=_fail)
    with pytest.raises(EdgecompError, match="ValueError: in vain") as caught:
        compile_ahead_of([wrong], tmp_path)
    assert caught.value.code is Code.INTERNAL


def _fail():
    raise ValueError("in vain")


def test_a_process_that_is_gone(tmp_path):
    def kill():
        (child,) = multiprocessing.active_children()
        os.kill(child.pid, signal.SIGKILL)
        child.join()

    with pytest.raises(EdgecompError) as caught:
        compile_ahead_of([kernel(1)], tmp_path, kill)
    assert caught.value.code is Code.OUT_OF_MEMORY
