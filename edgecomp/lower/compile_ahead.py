"""A process that imports TVM while this one still reads and lowers the model.

The import takes a second, which no kernel that has to be compiled comes without. It needs
nothing of the model, so that a second processor can do it from the start of a build; kernels are
then sent to that process, which shares them among processes of its own. Where all kernels turn
out to be known, it is ended, and has cost the other processor that second.
"""

import contextlib
import multiprocessing
import os
import pickle
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from edgecomp.device.target import Target
from edgecomp.lower.child_errors import packed_error, raised, stopped
from edgecomp.lower.compile_here import compiling_here
from edgecomp.lower.workers import begin_child, signals_held
from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.tirx import recursion_limit

#: In an answer, in the place of a kernel's number.
_ERROR = -1

Results = Iterator[tuple[Kernel, bytes]]


class AheadCompiler:
    """Compiles kernels in a process that was started before they were known."""

    def __init__(self) -> None:
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._unanswered = 0

    def start(self) -> None:
        """Start the process, where that saves something; once is enough."""
        if self._process is not None or not _is_worth_it():
            return
        context = multiprocessing.get_context("fork")
        # Where it does not start compile_here tries again, and says it.
        with contextlib.suppress(OSError):
            connection, other = context.Pipe()
            process = context.Process(target=_serve, args=(other, os.getpid()))
            with signals_held(), other:
                process.start()
            self._process, self._connection = process, connection

    def stop(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None and self._connection is not None:
            self._connection.close()
            self._process.kill()
            self._process.join()
        self._process = self._connection = None

    @contextlib.contextmanager
    def compiling(
        self, kernels: Sequence[Kernel], target: Target, workers: int
    ) -> Iterator[Results]:
        """``compiling_here``, but there: in this process only where it cannot be sent."""
        request = _packed(kernels, target, workers) if self._process and kernels else None
        if request is None or self._connection is None:
            with compiling_here(kernels, target, workers) as results:
                yield results
            return
        self._unanswered = len(kernels)
        try:
            with self._named_end():
                self._connection.send_bytes(request)
            yield self._received(self._connection, kernels)
        finally:
            if self._unanswered:  # its answers would be taken for those of the next request
                self.stop()

    def _received(self, connection: Connection, kernels: Sequence[Kernel]) -> Results:
        for _ in kernels:
            with self._named_end():
                index, content = connection.recv()
            if index == _ERROR:
                raise raised(content)
            self._unanswered -= 1
            yield kernels[index], content

    @contextlib.contextmanager
    def _named_end(self) -> Iterator[None]:
        """A connection that is closed at the other end: how the process ended."""
        try:
            yield
        except (EOFError, ConnectionError) as error:
            assert self._process is not None
            self._process.join()
            raise stopped([self._process.exitcode]) from error


@contextlib.contextmanager
def compiling_ahead() -> Iterator[AheadCompiler]:
    """A compiler for the time of a block, not started yet."""
    compiler = AheadCompiler()
    try:
        yield compiler
    finally:
        compiler.stop()


def _is_worth_it() -> bool:
    """Elsewhere than on Linux nothing tells processes of a killed process to end."""
    return sys.platform == "linux" and "tvm" not in sys.modules and (os.cpu_count() or 1) > 1


def _packed(kernels: Sequence[Kernel], target: Target, workers: int) -> bytes | None:
    """For the other process; None where a kernel is made of objects of this one."""
    made = [(kernel.symbol, kernel.make) for kernel in kernels]
    try:
        with recursion_limit():
            return pickle.dumps((made, target, workers), pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None


def _serve(connection: Connection, parent: int) -> None:
    """Compile what is asked for until nobody can ask any more."""
    begin_child(parent)
    with contextlib.suppress(Exception):  # who asks for a kernel is told
        import edgecomp.lower.codegen  # noqa: F401
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            request = connection.recv_bytes()
            try:
                _answer(connection, request)
            except Exception as error:  # said where people look
                connection.send((_ERROR, packed_error(error)))


def _answer(connection: Connection, request: bytes) -> None:
    with recursion_limit():
        made, target, workers = pickle.loads(request)  # noqa: S301 - of a process of our own
    kernels = [Kernel(symbol, make) for symbol, make in made]
    places = {kernel.symbol: index for index, kernel in enumerate(kernels)}
    with compiling_here(kernels, target, workers) as results:
        for kernel, content in results:
            connection.send((places[kernel.symbol], content))
