"""Kernels to objects in processes that are forked from this one."""

import contextlib
import logging
from collections.abc import Iterator, Sequence

from edgecomp.device.target import Target
from edgecomp.lower.workers import forked
from edgecomp.schedules.builder import Kernel

logger = logging.getLogger(__name__)

#: From so many kernels on TVM is imported before processes are forked, once for all of them;
#: fewer are done sooner where it is imported beside the rest of the build.
_MANY = 3


@contextlib.contextmanager
def compiling_here(
    kernels: Sequence[Kernel], target: Target, workers: int
) -> Iterator[Iterator[tuple[Kernel, bytes]]]:
    """Each kernel with its object, in the order in which they are ready."""

    def compile_one(index: int) -> bytes:
        from edgecomp.lower.codegen import compile_to_object

        return compile_to_object(kernels[index], target)

    if len(kernels) >= _MANY and workers > 1:
        import edgecomp.lower.codegen  # noqa: F401
    with contextlib.ExitStack() as processes:
        results = None
        if workers > 1 and kernels:
            # Kernels are inherited through fork: they need not be pickled. Their functions are
            # made there.
            try:
                results = processes.enter_context(forked(compile_one, len(kernels), workers))
            except OSError as error:
                logger.warning(
                    "the system starts no further process (%s): kernels are compiled one after "
                    "another",
                    error.strerror,
                )
        if results is None:
            results = ((index, compile_one(index)) for index in range(len(kernels)))
        yield ((kernels[index], content) for index, content in results)
