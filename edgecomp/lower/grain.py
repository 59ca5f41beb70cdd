"""How many work items of a call are worth another thread.

Waking or signalling a thread, and what it then reads from other cores' caches, take about as
long on any processor, while calls differ by factors of a thousand. Costs are modelled low (an
under-estimate keeps a call on one thread that two would finish about as soon).
"""

import math

from edgecomp.device.target import Target
from edgecomp.plan.values import Value, largest_bytes
from edgecomp.schedules.schedule import Constant, KernelCall

#: Work that pays for another thread. Handing it over and waiting for its end took 0.4 us on a
#: Xeon of the Emerald Rapids generation (2026-11-21), with threads that spin.
SHARE_NS = 2000.0
#: Multiply-adds per nanosecond and 32-bit lane: two vectors per cycle near 1 GHz.
MULTIPLIES_PER_LANE_NS = 2.0
#: The same for bytes, of which a lane holds four.
BYTE_FACTOR = 4
#: Bytes that a core moves per nanosecond.
BYTES_PER_NS = 8.0


def grain_items(call: KernelCall, target: Target) -> int:
    """Least work items for a thread of its own, 1 to the call's items."""
    items = math.ceil(call.work_items * SHARE_NS / max(1.0, modelled_ns(call, target)))
    return max(1, min(call.work_items, max(items, call.grain_items)))


def modelled_ns(call: KernelCall, target: Target) -> float:
    """What a call takes on one thread, to within a factor of a few."""
    rate = MULTIPLIES_PER_LANE_NS * target.lanes(32)
    if any(_dtype(argument) in ("int8", "uint8") for argument in call.arguments):
        rate *= BYTE_FACTOR
    moved = sum(_bytes(argument) for argument in call.arguments)
    return call.multiply_adds / rate + moved / BYTES_PER_NS


def _dtype(argument: Value | Constant) -> str:
    return argument.array.dtype.name if isinstance(argument, Constant) else argument.dtype


def _bytes(argument: Value | Constant) -> int:
    return argument.array.nbytes if isinstance(argument, Constant) else largest_bytes(argument)
