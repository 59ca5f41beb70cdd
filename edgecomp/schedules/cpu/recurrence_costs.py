"""Modelled cycles of recurrent nets."""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.recurrence import Recurrence
from edgecomp.schedules.cpu.rates import rates_of, traffic_cycles

#: Vector instructions of a cell's equations per vector of one gate: a sigmoid and what joins it.
_GATE_INSTRUCTIONS = 26.0


def recurrence_cycles(operation: Operation, target: Target) -> float:
    """Every step multiplies the state with the whole matrix, then applies the equations.

    A vector of the matrix is loaded for each multiplication, from the level-1 cache or beyond.
    """
    kind, (x, matrix) = operation.kind, operation.inputs[:2]
    assert isinstance(kind, Recurrence)
    rates = rates_of(target)
    directions = len(kind.reverse)
    width = kind.gates * kind.padded_hidden
    steps = x.elements // (directions * width) * directions
    gates = width / target.lanes(32)
    products = gates * kind.hidden / rates.instructions_per_cycle
    one_direction = matrix.bytes / directions
    cycles = max(products, traffic_cycles(one_direction, 0, target))
    cycles += gates * _GATE_INSTRUCTIONS / rates.instructions_per_cycle
    written = sum(value.bytes for value in operation.outputs)
    return steps * cycles + traffic_cycles(x.bytes, written, target)
