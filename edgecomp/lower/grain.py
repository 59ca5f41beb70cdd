"""How many work items of a call are worth another thread.

Waking or signalling a thread, and what it then reads from other cores' caches, take about as
long on any processor, while calls differ by factors of a thousand: so costs are rough.
"""

import math

from edgecomp.device.target import Target
from edgecomp.plan.values import Value, largest_bytes
from edgecomp.schedules.cost import hertz
from edgecomp.schedules.schedule import Constant, KernelCall

#: Work that pays for another thread. Handing it over and waiting for its end took 0.4 us on a
#: Xeon of the Emerald Rapids generation, with threads that spin; but a network of 6 us calls
#: took 1.14 times as long when two threads shared each, as each then read what the other had
#: written (2026-11-21).
SHARE_NS = 5000.0
#: Vectors of multiply-adds per cycle: of cores that issue in order, and of others.
VECTORS_PER_CYCLE = {True: 1.0, False: 2.0}
#: Multiply-adds of bytes for one of 32 bits.
BYTE_FACTOR = 4
#: Vectors that a core moves per cycle. Caches give more; but what is computed with each counts too,
#: and a thread that has a call alone reads half of it from the cache of the other one, which wrote
#: that. With four times as many, two threads of a Zen 4 took 1.05 to 1.49 times as long for networks
#: of 8 bits with many small calls, and as long as now for others (2026-11-22).
MOVES_PER_CYCLE = 1 / 16


def grain_items(call: KernelCall, target: Target) -> int:
    """Least work items for a thread of its own, 1 to the call's items."""
    items = math.ceil(call.work_items * SHARE_NS / max(1.0, modelled_ns(call, target)))
    return max(1, min(call.work_items, max(items, call.grain_items)))


def modelled_ns(call: KernelCall, target: Target) -> float:
    """What a call takes on one thread, to within a factor of two or so."""
    cycles_per_ns = hertz(target) / 1e9
    rate = VECTORS_PER_CYCLE[target.core.in_order] * cycles_per_ns * target.lanes(32)
    rate /= target.core.turns
    if any(_dtype(argument) in ("int8", "uint8") for argument in call.arguments):
        rate *= BYTE_FACTOR
    moved = sum(_bytes(argument) for argument in call.arguments)
    bytes_per_ns = MOVES_PER_CYCLE * cycles_per_ns * target.lanes(8)
    return call.multiply_adds / rate + moved / bytes_per_ns


def _dtype(argument: Value | Constant) -> str:
    return argument.array.dtype.name if isinstance(argument, Constant) else argument.dtype


def _bytes(argument: Value | Constant) -> int:
    return argument.array.nbytes if isinstance(argument, Constant) else largest_bytes(argument)
