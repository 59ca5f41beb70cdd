"""Kernels that bring the caches into the state a layer meets in a model, before it is timed.

In a model a layer's weights were last read an inference ago, so other data have passed through
the caches since; its input was written just before. A kernel that is timed alone, again and
again, finds both in the nearest cache and looks faster than it will be, and a kernel with larger
panels looks better than one with smaller ones.
"""

from edgecomp.device.target import Target
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Kernel, KernelBuilder, constant, load, ramp

#: A work item of both kernels. Each page of a flushed buffer is written once, so that it has
#: memory of its own: pages that were only read may all be the system's one page of zeros.
PAGE_BYTES = 4096
LINE_BYTES = 64


def flush_kernel(pages: int, target: Target) -> Kernel:
    """Read ``pages`` pages; parameter: int32 buffer of as many. A work item is a page."""
    builder, lanes = KernelBuilder(target.core.isa), target.lanes(32)
    buffer = builder.pointer("buffer", "int32", pages * PAGE_BYTES // 4)
    with builder.loop("page", builder.lo, builder.hi) as page:
        first = builder.let("first", page.astype("int64") * (PAGE_BYTES // 4), "int64")
        total = builder.array("total", "int32", lanes)
        builder.store(total, ramp(0, lanes), constant(0, "int32", lanes))
        with builder.loop("line", 0, PAGE_BYTES // LINE_BYTES) as line:
            at = first + line * (LINE_BYTES // 4)
            value = load(total, 0, lanes) + load(buffer, at, lanes)
            builder.store(total, ramp(0, lanes), value)
        builder.store(buffer, ramp(first, lanes), load(total, 0, lanes))
    return builder.finish("flush_caches")


def touch_kernel(buffer_bytes: int, target: Target) -> tuple[Kernel, int]:
    """Write a buffer's own contents back into it, as the layer that made them did.

    Parameters: the buffer; 64 bytes of zeros, which the compiler does not know to be zeros.

    Args:
        buffer_bytes: of the buffer, which 64 more bytes follow.
        target: the device.

    Returns:
        The kernel and its work items: a page each.
    """
    builder, lanes = KernelBuilder(target.core.isa), target.lanes(32)
    vectors = -(-buffer_bytes // (4 * lanes))
    per_page = PAGE_BYTES // (4 * lanes)
    buffer = builder.pointer("buffer", "int32", vectors * lanes)
    zeros = builder.pointer("zeros", "int32", LINE_BYTES // 4)
    nothing = builder.let("nothing", load(zeros, 0, lanes), f"int32x{lanes}")
    with builder.loop("page", builder.lo, builder.hi) as page:
        begin = builder.let("begin", page * per_page)
        end = builder.let("end", tirx.min(begin + per_page, vectors))
        with builder.loop("vector", begin, end) as vector:
            at = vector.astype("int64") * lanes
            builder.store(
                buffer,
                ramp(at, lanes),
                tirx.bitwise_xor(load(buffer, at, lanes), nothing),
            )
    return builder.finish("touch"), -(-vectors // per_page)
