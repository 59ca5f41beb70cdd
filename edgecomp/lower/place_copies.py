"""Copies between the memories of the processor and the GPU, each value once.

    on the GPU: a -> b       on the CPU: b -> c       on the GPU: b, c -> d
    ->
    copy a to the GPU, a -> b, copy b back, b -> c, copy c to the GPU, b, c -> d, copy d back

What the processor needs of the GPU is copied right behind its writer, what the GPU needs right in
front of the first that reads it: the processor waits only where it goes on behind the GPU. A value
is where its last writer was, and wherever it was copied since. Operations that write one value in
parts (a halo and what is inside it) find in their own memory what the others wrote.
"""

import dataclasses
import enum
from collections.abc import Sequence

from edgecomp.lower.select import Selected
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.plan import Launch, LaunchKind
from edgecomp.plan.sizes import has_dynamic
from edgecomp.plan.values import Value
from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.schedule import Dynamic, KernelCall


class _Place(enum.Enum):
    CPU = 0
    GPU = 1


_COPIES = {_Place.GPU: LaunchKind.TO_DEVICE, _Place.CPU: LaunchKind.FROM_DEVICE}


def place_copies(program: Program, selected: Sequence[Selected]) -> list[Selected]:
    """The same choices with copies in front of and behind their calls.

    Args:
        program: without branches and loops; views are set.
        selected: its choices, in order.
    """
    where: dict[Value, set[_Place]] = {root_of(v): {_Place.CPU} for v in program.inputs}
    placed: list[Selected] = []
    for choice, back in zip(selected, _wanted_back(program, selected), strict=True):
        place = _place(choice)
        calls: list[KernelCall] = []
        for value in used_memory(choice.operation):
            there = where.get(value)
            if there and place not in there:
                calls.append(_copy(value, place))
                there.add(place)
        calls += choice.calls
        for value in choice.operation.outputs:
            where[root_of(value)] = {place}
        for value in back:
            calls.append(_copy(value, _Place.CPU))
            where[value].add(_Place.CPU)
        placed.append(dataclasses.replace(choice, calls=calls))
    return placed


def _wanted_back(program: Program, selected: Sequence[Selected]) -> list[list[Value]]:
    """For each choice on the GPU what of its results the processor uses before it changes."""
    wanted = dict.fromkeys(map(root_of, program.outputs), True)
    back: list[list[Value]] = []
    for choice in reversed(selected):
        place, operation = _place(choice), choice.operation
        written = list(dict.fromkeys(map(root_of, operation.outputs)))
        on_gpu = place is _Place.GPU
        back.append([value for value in written if on_gpu and wanted.get(value)])
        wanted.update(dict.fromkeys(written, False))
        if not on_gpu:
            wanted.update(dict.fromkeys(used_memory(operation), True))
    return back[::-1]


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
    kernel, dynamic = Kernel("", _no_function), None
    if has_dynamic(value.shape):
        dynamic = Dynamic(value.bytes)
    return KernelCall(kernel, (value,), 1, dynamic=dynamic, launch=Launch(_COPIES[to]))


def _no_function() -> None:
    raise AssertionError("a copy has no kernel")
