"""Which registers a loop of lane_loop.py gives to weights, and what it then costs."""

import dataclasses
import functools
import math

from edgecomp.schedules.cpu.lane_loads import GROUP

VECTOR_REGISTERS = 32
#: Multiply-adds in the body of a loop at most: code size. Sixteen elements of tiles that fill the
#: registers.
BODY_MULTIPLIES = 336
#: Turns of a loop that are worth a longer body.
LEAST_TURNS = 2
#: What an instruction beside the multiplies costs where its time is hidden, in cycles.
_INSTRUCTION_CYCLES = 0.1
#: In order: cycles from a load of one register to its use; as many more does a load of several
#: keep others away, which may not end before it.
_LOAD_CYCLES = 3
#: In order: what a loop loses per element of K, whatever its tile.
_LOST_CYCLES = 0.25
#: In order: what each register costs that is loaded. The model below takes loads for free beside
#: multiplies; descriptions of the core have no multiply beside a load of 128 bits. Between the two.
_LOADED_CYCLES = 0.15
#: Registers of weights that hide the time of a load behind multiplies of integers.
_DOT_RING = 4
#: In order: multiply-adds of the next turn ahead of the branch, which waits for loads before it;
#: and those between the step of the pointers and a turn's last vector. Both found with llvm-mca.
_SKEW = 3
_AHEAD = 3


@dataclasses.dataclass(frozen=True)
class Ring:
    """Registers that hold weights.

    Attributes:
        chunk: how many are loaded at once.
        chunks: how many times that.
    """

    chunk: int
    chunks: int

    @property
    def size(self) -> int:
        """Registers."""
        return self.chunk * self.chunks


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a tile's loop is made.

    Attributes:
        ring: of weights.
        period: elements of K after which registers come round.
        cycles: modelled, per element of K.
        skew: multiply-adds of the next turn ahead of the branch.
        ahead: multiply-adds between the step of the pointers and a turn's last vector.
        late: multiply-adds between the last use of a chunk and its load where loads of x come
            there too; 0 where it need not wait.
    """

    ring: Ring
    period: int
    cycles: float
    skew: int = 0
    ahead: int = 0
    late: int = 0


@functools.cache
def plan_for(rows: int, vectors: int, *, in_order: bool) -> Plan | None:
    """The cheapest ring that the registers leave room for; None where none does."""
    free = VECTOR_REGISTERS - rows * vectors - rows
    plans = [
        plan
        for chunk in (4, 3, 2, 1)
        for chunks in range(1, 4)
        if chunk * chunks <= free
        and (plan := _plan(rows, vectors, Ring(chunk, chunks), in_order=in_order))
    ]
    if in_order and rows == 1 and plans:
        return _streaming_plan(vectors, plans)
    return min(plans, key=lambda plan: plan.cycles, default=None)


def _streaming_plan(vectors: int, plans: list[Plan]) -> Plan:
    """The plan of one row on a core that issues in order, at the cost of the cheapest one.

    Each weight is used once and comes from memory, whose time hides that of loads: the more are
    on their way the better, in as few instructions as can be.
    """
    most = min(4, vectors)
    longest = max((p for p in plans if p.ring.chunk <= most), key=lambda p: p.ring.size)
    cycles = min(plan.cycles for plan in plans)
    return Plan(longest.ring, longest.period, cycles)


@functools.cache
def dot_plan_for(rows: int, vectors: int) -> Plan | None:
    """The same of ``sdot`` on a core that issues in order.

    LLVM's model of Cortex-A55 starts nothing beside a multiply of integers: every instruction
    costs a cycle, and a load of several registers more than one of each. So weights come one by
    one, and bodies are long.
    """
    free = VECTOR_REGISTERS - rows * vectors - rows
    rings = [Ring(1, chunks) for chunks in range(2, min(free, _DOT_RING) + 1)]
    periods = [(GROUP * r.size // math.gcd(GROUP * vectors, r.size), r) for r in rings]
    if not periods:
        return None
    period, ring = min(periods, key=lambda found: (found[0], -found[1].size))
    cycles = rows * (vectors + 1 / GROUP) + vectors
    return Plan(ring, period, cycles)


def _plan(rows: int, vectors: int, ring: Ring, *, in_order: bool) -> Plan | None:
    """A loop whose body ends where a turn of the ring does; None where that is too long."""
    period = GROUP * ring.size // math.gcd(GROUP * vectors, ring.size)
    multiplies = period * vectors * rows
    if multiplies > BODY_MULTIPLIES // 2 and period > GROUP:
        return None
    if not in_order:
        return Plan(ring, period, _out_of_order_cycles(rows, vectors, ring))
    skew = min(_SKEW, rows * vectors - 1)
    can_wait = ring.chunk > 1 and ring.chunks > 1 and skew + 1 < ring.chunk * rows
    late = skew + 1 if can_wait and skew else 0
    return Plan(ring, period, _in_order_cycles(rows, vectors, ring), skew, _AHEAD, late)


def _out_of_order_cycles(rows: int, vectors: int, ring: Ring) -> float:
    """Two multiplies or loads a cycle; other work takes the places of instructions."""
    instructions = rows / GROUP + vectors / ring.chunk
    loads = rows / GROUP + vectors
    slowest = max(rows * vectors / 2, loads / 2, 4.0)
    return slowest + _INSTRUCTION_CYCLES * instructions


def _in_order_cycles(rows: int, vectors: int, ring: Ring) -> float:
    """Of LLVM's model of Cortex-A55, per element of K.

    It starts two instructions a cycle, one of them a load: of one register for a cycle, of
    several for two cycles each, with results three cycles later, and lets no other load end
    before.
    """
    multiplies = ring.chunk * rows
    x_loads = ring.chunk * rows / (GROUP * vectors)
    joined = ring.chunk > 1
    unit = 2 * ring.chunk + _LOAD_CYCLES if joined else 1 + x_loads
    latency = float(_LOAD_CYCLES + (2 * ring.chunk if joined else 0))
    slots = (multiplies + x_loads + (2 if joined else 1)) / 2
    if ring.chunks == 1:
        latency += multiplies / 2
    else:
        latency /= ring.chunks - 1
    slowest = max(slots, unit, latency)
    cycles = max(4.0, slowest * vectors / ring.chunk) + _LOST_CYCLES
    cycles += _INSTRUCTION_CYCLES * (rows / GROUP + vectors / ring.chunk)
    return cycles + _LOADED_CYCLES * (rows / GROUP + vectors)
