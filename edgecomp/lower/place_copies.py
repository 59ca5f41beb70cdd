"""Copies between the memories of the processor and the GPU, each where it is first needed.

    on the GPU: a -> b       on the CPU: b -> c       on the GPU: b, c -> d
    ->
    copy a to the GPU, a -> b, copy b back, b -> c, copy c to the GPU, b, c -> d, copy d back

A value is where its last writer was, and wherever it was copied since. Operations that write one
value in parts (a halo and what is inside it) find in their own memory what the others wrote.
"""

import dataclasses
import enum
from collections.abc import Sequence

from edgecomp.lower.select import Selected
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.plan import Launch, LaunchKind
from edgecomp.plan.values import Value
from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.schedule import KernelCall


class _Place(enum.Enum):
    CPU = 0
    GPU = 1


_COPIES = {_Place.GPU: LaunchKind.TO_DEVICE, _Place.CPU: LaunchKind.FROM_DEVICE}


def place_copies(program: Program, selected: Sequence[Selected]) -> list[Selected]:
    """The same choices; copies stand in front of the calls of the operation that needs them.

    Args:
        program: without branches and loops; views are set.
        selected: its choices, in order.
    """
    where: dict[Value, set[_Place]] = {root_of(v): {_Place.CPU} for v in program.inputs}
    placed: list[Selected] = []
    for choice in selected:
        place = _place(choice)
        calls: list[KernelCall] = []
        for value in used_memory(choice.operation):
            there = where.get(value)
            if there and place not in there:
                calls.append(_copy(value, place))
                there.add(place)
        for value in choice.operation.outputs:
            where[root_of(value)] = {place}
        placed.append(dataclasses.replace(choice, calls=[*calls, *choice.calls]))
    for value in program.outputs:
        root = root_of(value)
        there = where.get(root)
        if there and _Place.CPU not in there:
            there.add(_Place.CPU)
            last = placed[-1]
            back = _copy(root, _Place.CPU)
            placed[-1] = dataclasses.replace(last, calls=[*last.calls, back])
    return placed


def _place(choice: Selected) -> _Place:
    on_gpu = any(call.launch is not None for call in choice.calls)
    return _Place.GPU if on_gpu else _Place.CPU


def used_memory(operation: Operation) -> list[Value]:
    """What an operation reads, and what it may write a part of: values that own memory."""
    roots = [root_of(value) for value in (*operation.inputs, *operation.outputs)]
    return [value for value in dict.fromkeys(roots) if value.constant is None]


def root_of(value: Value) -> Value:
    """The value whose memory another one is."""
    while (below := value.alias_of or value.part_of) is not None:
        value = below
    return value


def _copy(value: Value, to: _Place) -> KernelCall:
    kernel = Kernel("", _no_function)
    return KernelCall(kernel, (value,), 1, launch=Launch(_COPIES[to]))


def _no_function() -> None:
    raise AssertionError("a copy has no kernel")
