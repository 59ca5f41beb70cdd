"""A program that times the kernels of one layer: the plan of a bundle of its own.

For each kernel it makes three kinds of calls, so that the kernel meets the caches as in the
model (``schedules/cpu/cache_state.py``): one that reads as many bytes as an inference brings through
the caches, one for each activation that writes it again, then the kernel. Only the last one's
time counts. The kernels of a layer share the memory of their constants: no time depends on the
numbers, and a program for a device behind ssh stays small.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from edgecomp.device.target import Target
from edgecomp.lower.grain import grain_items
from edgecomp.plan.operations import Operation
from edgecomp.plan.plan import Plan, PlanCall, PlanPort, PlanTensor, Storage
from edgecomp.plan.values import SLACK_BYTES, Array, Value
from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.cpu.cache_state import PAGE_BYTES, flush_kernel, touch_kernel
from edgecomp.schedules.schedule import Constant, KernelCall

ALIGNMENT_BYTES = 64
#: Bytes to read between two uses of a layer's weights, at most: more would only take time, where
#: a core has less cache than that to itself.
MOST_FLUSH_BYTES = 32 << 20


@dataclasses.dataclass(frozen=True)
class TimingPlan:
    """A plan without objects, and where its timed calls are.

    Attributes:
        plan: to write as a bundle; its objects are to be filled in.
        kernels: all that it calls.
        timed: for each candidate, the indices of its own calls.
    """

    plan: Plan
    kernels: list[Kernel]
    timed: list[list[int]]


def flush_bytes(passing_bytes: int) -> int:
    """How much to read before each kernel, where a model's inference passes so many bytes."""
    return -(-max(1, min(passing_bytes, MOST_FLUSH_BYTES)) // PAGE_BYTES) * PAGE_BYTES


def timing_plan(
    operation: Operation,
    emitted: Sequence[Sequence[KernelCall]],
    target: Target,
    flushed_bytes: int,
) -> TimingPlan:
    """Put the calls of several candidates of one operation into one plan.

    Args:
        operation: whose candidates they are.
        emitted: calls of each.
        target: the device.
        flushed_bytes: to read before each, a multiple of a page.
    """
    memory = _Memory(emitted)
    zeros = memory.add_constant("zeros", np.zeros(ALIGNMENT_BYTES // 4, np.int32))
    flush = memory.add_arena("flush", "int32", flushed_bytes)
    pages = flushed_bytes // PAGE_BYTES
    evict = flush_kernel(pages, target)
    before = [_call(evict, (flush,), pages)]
    kernels = [evict]
    activations = [v for v in operation.inputs if v.constant is None]
    # The output's memory was in use shortly before too; the input is what was written last.
    for value in dict.fromkeys([operation.output, *reversed(activations)]):
        kernel, items = touch_kernel(value.bytes, target)
        before.append(_call(kernel, (memory.value(value), zeros), items))
        kernels.append(kernel)
    calls: list[PlanCall] = []
    timed = []
    for own in emitted:
        calls += before
        timed.append(list(range(len(calls), len(calls) + len(own))))
        slots = memory.slots(own)
        for call in own:
            arguments = tuple(
                slots[a] if isinstance(a, Constant) else memory.value(a)
                for a in call.arguments
            )
            kernels.append(call.kernel)
            planned = _call(call.kernel, arguments, call.work_items)
            calls.append(
                dataclasses.replace(
                    planned,
                    workspace_bytes=call.workspace_bytes,
                    grain_items=grain_items(call, target),
                )
            )
    plan = Plan(
        name="tune",
        target=target.name,
        tensors=memory.tensors,
        calls=calls,
        inputs=[memory.port(value) for value in dict.fromkeys(activations)],
        outputs=[memory.port(operation.output)],
        arena_bytes=memory.arena_bytes,
        arena_bound_bytes=memory.arena_bytes,
        weights=bytes(memory.weights),
        objects={},
    )
    return TimingPlan(plan, kernels, timed)


def constant_bytes(calls: Sequence[KernelCall]) -> int:
    """Bytes of the constants that calls read."""
    arrays = {
        id(a): a.array.nbytes for c in calls for a in c.arguments if isinstance(a, Constant)
    }
    return sum(arrays.values())


class _Memory:
    """Tensors of the plan: activations in the arena, constants that candidates share."""

    def __init__(self, emitted: Sequence[Sequence[KernelCall]]) -> None:
        self.tensors: list[PlanTensor] = []
        self.weights = bytearray()
        self.arena_bytes = 0
        self._values: dict[Value, int] = {}
        largest: dict[tuple[str, int], Array] = {}
        for calls in emitted:
            for slot, constant in _slots(calls).items():
                known = largest.get(slot)
                if known is None or constant.array.nbytes > known.nbytes:
                    largest[slot] = constant.array
        self._shared = {
            slot: self.add_constant(f"constant_{index}", array)
            for index, (slot, array) in enumerate(largest.items())
        }

    def slots(self, calls: Sequence[KernelCall]) -> dict[Constant, int]:
        """Tensor of each constant of one candidate."""
        return {constant: self._shared[slot] for slot, constant in _slots(calls).items()}

    def value(self, value: Value) -> int:
        """Tensor of an activation, halo included."""
        if value not in self._values:
            self._values[value] = self.add_arena(value.name, value.dtype, value.bytes)
        return self._values[value]

    def port(self, value: Value) -> PlanPort:
        """All of a value's memory, halo included, as a flat input or output."""
        shape = (value.view.elements,)
        return PlanPort(value.name, self.value(value), value.dtype, shape)

    def add_arena(self, name: str, dtype: str, size: int) -> int:
        """A tensor in the arena, which overlaps no other."""
        offset = self.arena_bytes
        self.arena_bytes += _aligned(size)
        tensor = PlanTensor(name, dtype, (size,), Storage.ARENA, offset, size, -1, 1 << 30)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def add_constant(self, name: str, array: Array) -> int:
        """A tensor in the weights."""
        data = np.ascontiguousarray(array).tobytes()
        offset = len(self.weights)
        self.weights += data + bytes(_aligned(len(data)) - len(data))
        dtype = array.dtype.name
        tensor = PlanTensor(name, dtype, array.shape, Storage.WEIGHTS, offset, len(data))
        self.tensors.append(tensor)
        return len(self.tensors) - 1


def _slots(calls: Sequence[KernelCall]) -> dict[tuple[str, int], Constant]:
    """Constants by dtype and place among those of that dtype: weights, bias, multipliers."""
    slots: dict[tuple[str, int], Constant] = {}
    seen: dict[str, int] = {}
    for call in calls:
        for argument in call.arguments:
            if isinstance(argument, Constant) and argument not in slots.values():
                dtype = argument.array.dtype.name
                slots[dtype, seen.get(dtype, 0)] = argument
                seen[dtype] = seen.get(dtype, 0) + 1
    return slots


def _call(kernel: Kernel, arguments: tuple[int, ...], items: int) -> PlanCall:
    return PlanCall(kernel.symbol, arguments, items, operator="tune", schedule="tune")


def _aligned(size: int) -> int:
    """Bytes of a tensor and what may be read behind it."""
    return -(-(size + SLACK_BYTES) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
