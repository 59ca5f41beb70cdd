"""Kernels to objects in processes that are forked from this one."""

import contextlib
from collections.abc import Iterator, Sequence

from edgecomp.device.target import Target
from edgecomp.lower.workers import forked
from edgecomp.schedules.builder import Kernel

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

    if workers == 1 or not kernels:
        yield ((kernel, compile_one(index)) for index, kernel in enumerate(kernels))
        return
    if len(kernels) >= _MANY:
        import edgecomp.lower.codegen  # noqa: F401
    # Kernels are inherited through fork: they need not be pickled. Their functions are made there.
    with forked(compile_one, len(kernels), workers) as results:
        yield ((kernels[index], content) for index, content in results)
