import errno
import gc
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from edgecomp.errors import Code, EdgecompError
from edgecomp.lower.workers import forked


def results_of(function):
    """All that two processes make of 0 to 6."""
    with forked(function, 7, 2) as results:
        return list(results)


def test_results_come_with_their_index():
    factor = 3  # inherited, not pickled
    assert dict(results_of(lambda i: i * factor)) == {i: i * 3 for i in range(7)}


def test_an_error_of_a_worker_ends_the_work():
    def fail(index):
        raise FileNotFoundError(f"no {index}")

    for _ in range(5):
        with pytest.raises(FileNotFoundError):
            results_of(fail)


class Session:
    """Like one of onnxruntime: what frees it waits for threads, which a fork does not copy."""

    freed = 0

    def __init__(self):
        self.itself = self

    def __del__(self):
        Session.freed += 1


def test_garbage_of_the_parent_is_not_collected_by_a_worker():
    def collect(index):
        gc.collect()
        return Session.freed

    gc.disable()
    try:
        Session()
        assert {freed for _, freed in results_of(collect)} == {0}
        gc.collect()
        assert Session.freed == 1
    finally:
        gc.enable()


def test_where_a_process_does_not_start_none_is_left(monkeypatch):
    """The pool does not know of the first, whose end it would wait for when the program ends."""
    fork, forks = os.fork, []

    def second_fails():
        forks.append(None)
        if len(forks) == 2:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return fork()

    monkeypatch.setattr(os, "fork", second_fails)
    before = set(multiprocessing.active_children())
    with pytest.raises(OSError, match="allocate memory"):
        results_of(str)
    assert len(forks) == 2
    assert set(multiprocessing.active_children()) == before


@pytest.mark.parametrize("room", [0, 1, 3])
def test_where_threads_do_not_start_no_process_does(room, monkeypatch):
    """A pool of which only some parts were started would wait for ever."""
    start, starts = threading.Thread.start, []

    def limited(thread):
        starts.append(thread)
        if len(starts) > room:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    before = set(multiprocessing.active_children()), threading.active_count()
    with pytest.raises(OSError, match="unavailable"):
        results_of(str)
    assert (set(multiprocessing.active_children()), threading.active_count()) == before


def test_a_killed_worker_is_no_hang():
    def die(index):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(EdgecompError) as caught:
        results_of(die)
    assert caught.value.code is Code.OUT_OF_MEMORY


def test_a_signal_while_the_processes_are_forked_is_not_lost():
    """It ends the work afterwards: what is raised in the functions around a fork is forgotten."""
    armed = []

    def interrupt():
        if armed:
            armed.clear()
            os.kill(os.getpid(), signal.SIGINT)

    os.register_at_fork(before=interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    armed.append(True)
    try:
        with pytest.raises(KeyboardInterrupt):
            results_of(lambda index: index)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells children of a parent's end"
)
def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    script = (
        "import os, sys, time\n"
        "from edgecomp.lower.workers import forked\n"
        "def work(index):\n"
        "    open(sys.argv[1] + '/' + str(os.getpid()), 'w').close()\n"
        "    time.sleep(60)\n"
        "with forked(work, 4, 2) as results:\n"
        "    list(results)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) as parent:
        while len(workers := [int(p.name) for p in tmp_path.iterdir()]) < 2:
            assert parent.poll() is None
            time.sleep(0.01)
        parent.kill()
    for worker in workers:
        ended = time.monotonic() + 10
        while _is_running(worker):
            assert time.monotonic() < ended
            time.sleep(0.01)


def _is_running(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
