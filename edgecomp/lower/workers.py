"""Work spread over forked processes that neither hang nor outlive the one that needs them."""

import concurrent.futures
import concurrent.futures.process
import contextlib
import ctypes
import errno
import gc
import multiprocessing
import multiprocessing.process
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from edgecomp.lower.child_errors import sendable, stopped

Result = TypeVar("Result")

#: prctl(2): the signal a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1

#: Threads of a pool: one that hears of results, one that hands calls out.
_POOL_THREADS = 2

#: Signals that end the program by an exception.
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

_function: Callable[[int], Any] | None = None


@contextlib.contextmanager
def forked(
    function: Callable[[int], Result], count: int, workers: int
) -> Iterator[Iterator[tuple[int, Result]]]:
    """Call ``function(0)`` ... ``function(count - 1)`` in child processes while the block runs.

    The function is inherited through fork: only indices and results are pickled.

    Args:
        function: what to call.
        count: how many calls.
        workers: processes.

    Yields:
        Iterator over index and result, in the order in which they finish; it raises what the
        function raised, and EdgecompError where a process is gone: OUT_OF_MEMORY when the system
        stopped it, else INTERNAL.

    Raises:
        OSError: on entering, where the system starts no process; nothing was called then.
    """
    global _function
    workers = min(workers, count)
    _require_room(workers + _POOL_THREADS)
    _function = function
    pool = concurrent.futures.ProcessPoolExecutor(
        workers,
        multiprocessing.get_context("fork"),
        initializer=begin_child,
        initargs=(os.getpid(),),
    )
    others = set(multiprocessing.active_children())
    children: set[multiprocessing.process.BaseProcess] = set()
    try:
        with signals_held():
            futures = _submitted(pool, count, others)
        children = set(multiprocessing.active_children()) - others
        yield (
            (futures[future], future.result())
            for future in concurrent.futures.as_completed(futures)
        )
    except concurrent.futures.process.BrokenProcessPool as error:
        pool.shutdown(
            wait=True, cancel_futures=True
        )  # until then some are not known to be gone
        raise stopped(child.exitcode for child in children) from error
    finally:
        _function = None
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Signals that end the program wait until the processes are forked.

    What a signal handler raises inside of the functions that Python runs around a fork is
    printed and forgotten: the program would go on. Blocking the signals would not help, because
    another thread of a library takes them then.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs handlers in the main thread only
        return
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in _ENDING
        if callable(signal.getsignal(number))
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for late in received:
        signal.raise_signal(late)


def _require_room(count: int) -> None:
    """OSError where the system has no room for so many threads, which it counts as processes.

    A pool whose processes were started and whose threads were not waits for ever.
    """
    end = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=end.wait)
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
    finally:
        end.set()
        for thread in started:
            thread.join()


def _submitted(
    pool: concurrent.futures.ProcessPoolExecutor,
    count: int,
    others: set[multiprocessing.process.BaseProcess],
) -> dict[concurrent.futures.Future[Any], int]:
    """The calls and their indices; where not every process starts, none of the pool's is left."""
    try:
        return {pool.submit(_call, index): index for index in range(count)}
    except OSError:
        # The pool does not know of those that did start, and would wait for them at the end.
        for child in set(multiprocessing.active_children()) - others:
            child.kill()
            child.join()
        raise


def _call(index: int) -> Any:
    assert _function is not None
    try:
        return _function(index)
    except Exception as error:
        sent = sendable(error)
        if sent is error:
            raise
        raise sent from error


def begin_child(parent: int) -> None:
    """What a process does first that was forked: it is quiet, and ends with its parent.

    Args:
        parent: its number, as that process knows it.
    """
    # The parent's handlers would raise in the middle of the pool's locks; Ctrl-C reaches the
    # whole group of processes, and the parent is the one that ends the work.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What the parent left to the collector is not collected here: a session of onnxruntime would
    # wait for threads that fork does not copy.
    gc.freeze()
    if sys.platform == "linux":
        # A parent that is killed cannot tell anybody: without this its children wait forever.
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
