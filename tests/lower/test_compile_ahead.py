import contextlib
import dataclasses
import errno
import functools
import multiprocessing
import os
import signal
import sys
import time

import pytest
from helpers.targets import AVX2

from edgecomp.errors import Code, EdgecompError
from edgecomp.lower import compile_ahead
from edgecomp.lower.compile import compile_kernels, compiling
from edgecomp.lower.compile_ahead import compiling_ahead
from edgecomp.schedules.builder import Kernel, KernelBuilder, intrinsic, load

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


def compile_ahead_of(kernels, cache, before=lambda: None, workers=2):
    with compiling_ahead() as ahead:
        ahead.start()
        before()
        with compiling(kernels, AVX2, cache=cache, workers=workers, ahead=ahead) as finish:
            return finish()


def compiled(kernels, cache, workers=2, *, here):
    """In processes of this one, or ahead."""
    if here:
        return compile_kernels(kernels, AVX2, cache=cache, workers=workers)
    return compile_ahead_of(kernels, cache, workers=workers)


def test_objects_are_the_same(tmp_path):
    kernels = [kernel(terms) for terms in (1, 2, 2000)]
    found = compile_ahead_of(kernels, tmp_path / "ahead")
    assert found == compile_kernels(kernels, AVX2, cache=tmp_path / "here", workers=1)
    assert len(list((tmp_path / "ahead" / "objects").iterdir())) == len(kernels)
    assert not multiprocessing.active_children()


def test_where_no_process_starts_this_one_compiles(tmp_path, monkeypatch):
    def no_fork():
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(os, "fork", no_fork)
    kernels = [kernel(terms) for terms in (1, 2, 3)]
    assert len(compile_ahead_of(kernels, tmp_path)) == len(kernels)


def test_a_kernel_of_this_process(tmp_path):
    sent = kernel(1)
    own = Kernel(sent.symbol, lambda: sent.function)
    found = compile_ahead_of([own], tmp_path)
    assert found == compile_kernels([sent], AVX2, cache=tmp_path / "here", workers=1)


def test_nothing_to_compile(tmp_path):
    assert compile_ahead_of([], tmp_path) == {}
    assert not multiprocessing.active_children()


def wrong(make):
    return dataclasses.replace(kernel(1), make=make)


@pytest.mark.parametrize("count", [1, 3])
def test_errors_come_back_as_they_are(tmp_path, count):
    with pytest.raises(ValueError, match="in vain") as caught:
        compile_ahead_of([wrong(_fail), *map(kernel, range(2, 1 + count))], tmp_path)
    assert "in _fail" in str(caught.value.__cause__)


def _fail():
    raise ValueError("in vain")


def test_an_error_for_people_stays_one(tmp_path):
    with pytest.raises(EdgecompError) as caught:
        compile_ahead_of([wrong(_refuse)], tmp_path)
    assert caught.value.as_dict() == _refusal().as_dict()


def _refuse():
    raise _refusal()


def _refusal():
    error = EdgecompError(code=Code.FALLBACK_REFUSED, cause="not so", hint="but so")
    error.node = "of a person"
    return error


def test_an_error_of_tvm(tmp_path):
    builder = KernelBuilder()
    x = builder.pointer("x", "float32", 64)
    with builder.loop("i", builder.lo, builder.hi) as i:
        builder.store(x, i, intrinsic("float32", "llvm.no.such.thing", load(x, i)))
    with pytest.raises(Exception, match=r"llvm\.no\.such\.thing"):
        compile_ahead_of([builder.finish("odd")], tmp_path)


class UnwrittenError(Exception):
    def __reduce__(self):
        raise TypeError("never")


class UnreadError(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize("error", [UnwrittenError("one and two"), UnreadError("one", "two")])
@pytest.mark.parametrize("here", [False, True])
def test_an_error_that_cannot_be_sent_comes_in_its_words(tmp_path, error, here, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "_thrown", error)
    kernels = [wrong(_throw), kernel(2)]
    with pytest.raises(EdgecompError, match=f"{type(error).__name__}: one and two") as caught:
        compiled(kernels, tmp_path, here=here)
    assert caught.value.code is Code.INTERNAL


_thrown = None


def _throw():
    raise _thrown


class Unreadable:
    """A function that another process cannot read."""

    def __call__(self):
        raise AssertionError

    def __reduce__(self):
        return _fail, ()


def test_a_request_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match="in vain"):
        compile_ahead_of([wrong(Unreadable())], tmp_path)


def test_a_process_that_is_gone(tmp_path):
    def kill():
        (child,) = multiprocessing.active_children()
        os.kill(child.pid, signal.SIGKILL)
        child.join()

    with pytest.raises(EdgecompError) as caught:
        compile_ahead_of([kernel(1)], tmp_path, kill)
    assert caught.value.code is Code.OUT_OF_MEMORY


@pytest.mark.parametrize(("here", "workers"), [(False, 1), (False, 2), (True, 2)])
@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        ("SIGKILL", Code.OUT_OF_MEMORY, "memory ran out"),
        ("SIGSEGV", Code.INTERNAL, "ended by SIGSEGV"),
        ("SIGTERM", Code.INTERNAL, "ended by SIGTERM"),
        ("exit", Code.INTERNAL, "status 3"),
    ],
)
def test_a_crash_is_named(tmp_path, end, code, words, workers, here):
    kernels = [wrong(functools.partial(_end, end)), kernel(2), kernel(3)]
    with pytest.raises(EdgecompError, match=words) as caught:
        compiled(kernels, tmp_path, workers, here=here)
    assert caught.value.code is code
    assert not multiprocessing.active_children()


def _end(how):
    if how == "exit":
        os._exit(3)
    number = signal.Signals[how]
    if number != signal.SIGKILL:
        # Libraries of other tests have handlers that wait for the fault to come again.
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    time.sleep(10)
    os._exit(4)


def test_what_fails_meanwhile_is_no_end_of_the_process(tmp_path):
    """A pipe that nobody reads is a ConnectionError as well."""
    with compiling_ahead() as ahead:
        ahead.start()
        with (
            pytest.raises(BrokenPipeError, match="of a person"),
            compiling([kernel(1)], AVX2, cache=tmp_path, workers=2, ahead=ahead),
        ):
            raise BrokenPipeError("of a person")


@pytest.mark.parametrize("fails", [False, True])
def test_objects_of_a_request_that_was_given_up_are_not_taken(tmp_path, fails):
    """Once after an error, once where nobody asked for the objects."""
    one, two, three = map(kernel, (1, 2, 3))
    if fails:
        one = wrong(_fail)
    with compiling_ahead() as ahead:
        ahead.start()
        with (
            contextlib.suppress(ValueError),
            compiling([one, two], AVX2, cache=tmp_path, workers=1, ahead=ahead) as finish,
        ):
            if fails:
                finish()
        with compiling([three], AVX2, cache=tmp_path, workers=1, ahead=ahead) as finish:
            found = finish()
    assert found == compile_kernels([three], AVX2, cache=tmp_path / "here", workers=1)
