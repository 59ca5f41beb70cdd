"""Selected kernel calls to a plan: lifetimes, arena offsets, one blob of weights."""

import hashlib

from edgecomp.buffers import Spool, bytes_of, pieces
from edgecomp.device.target import Target
from edgecomp.lower.arena import Block, lower_bound, plan_arena
from edgecomp.lower.grain import grain_items
from edgecomp.lower.interleave import Step, interleave
from edgecomp.lower.select import Selected
from edgecomp.plan.operations import Fallback, Operation, Program, Reinterpret
from edgecomp.plan.plan import Plan, PlanCall, PlanPort, PlanTensor, Storage
from edgecomp.plan.values import SLACK_BYTES, Array, Value
from edgecomp.schedules.schedule import Constant

ALIGNMENT_BYTES = 64


class _Weights:
    """The weights file: each distinct array once, in the order of first use."""

    def __init__(self) -> None:
        self.contents = Spool()
        self._offsets: dict[bytes, int] = {}

    def add(self, array: Array) -> int:
        """Offset of the array in the file."""
        data = bytes_of(array)
        hashed = hashlib.sha256()
        for piece in pieces(data):
            hashed.update(piece)
        digest = hashed.digest()
        if digest not in self._offsets:
            self._offsets[digest] = len(self.contents)
            self.contents.write(data)
            self.contents.write(bytes(-len(data) % ALIGNMENT_BYTES + SLACK_BYTES))
        return self._offsets[digest]


class _Tensors:
    """Plan tensors in the making; views of one memory share one tensor."""

    def __init__(self) -> None:
        self.weights = _Weights()
        self.tensors: list[PlanTensor] = []
        self._index: dict[Value, int] = {}
        self._constants: dict[int, int] = {}
        self._lifetimes: dict[int, list[int]] = {}
        self._owners: dict[int, Value] = {}

    def constant(self, name: str, array: Array) -> int:
        """Index of the tensor of a constant; the array lives as long as the calls."""
        if id(array) not in self._constants:
            self._constants[id(array)] = self._constant(name, array)
        return self._constants[id(array)]

    def _constant(self, name: str, array: Array) -> int:
        offset = self.weights.add(array)
        dtype, shape, size = array.dtype.name, tuple(array.shape), array.nbytes
        tensor = PlanTensor(name, dtype, shape, Storage.WEIGHTS, offset, size)
        for index, known in enumerate(self.tensors):
            if known.storage is Storage.WEIGHTS and known.offset_bytes == offset:
                return index
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def touch(self, argument: Value | Constant, call: int) -> int:
        """Index of an argument's tensor, which is in use at ``call``."""
        if isinstance(argument, Constant):
            return self.constant(argument.name, argument.array)
        root = argument
        while (below := root.alias_of or root.part_of) is not None:
            root = below
        if root.constant is not None:
            return self.constant(root.name, root.constant)
        index = self._index.get(root)
        if index is None:
            index = self._index[root] = len(self.tensors)
            self._owners[index] = root
            self.tensors.append(
                PlanTensor(root.name, root.dtype, root.shape, Storage.ARENA, 0, root.bytes)
            )
        self._lifetimes.setdefault(index, []).append(call)
        return index

    def place(self) -> tuple[list[PlanTensor], int, int]:
        """Tensors with their offsets, the arena's bytes and the least it could be."""
        indices = sorted(self._lifetimes)
        blocks = [
            Block(
                self._owners[i].bytes + SLACK_BYTES,
                min(self._lifetimes[i]),
                max(self._lifetimes[i]),
            )
            for i in indices
        ]
        if not blocks:
            return self.tensors, 0, 0
        offsets, peak = plan_arena(blocks)
        for index, block, offset in zip(indices, blocks, offsets, strict=True):
            known = self.tensors[index]
            self.tensors[index] = PlanTensor(
                known.name,
                known.dtype,
                known.shape,
                Storage.ARENA,
                offset,
                known.bytes,
                block.first,
                block.last,
            )
        return self.tensors, peak, lower_bound(blocks)


def assemble(
    program: Program, selected: list[Selected], target: Target, objects: dict[str, bytes]
) -> Plan:
    """Join everything into the static plan."""
    _set_aliases(program)
    tensors = _Tensors()
    inputs = [_port(value, tensors.touch(value, -1), value.name) for value in program.inputs]
    calls: list[PlanCall] = []
    for step in interleave(selected, target):
        indices = tuple(tensors.touch(a, len(calls)) for a in step.call.arguments)
        calls.append(_plan_call(step, indices, target))
    outputs = [
        _port(value, tensors.touch(value, len(calls)), name)
        for value, name in zip(program.outputs, program.output_names, strict=True)
    ]
    placed, arena_bytes, bound_bytes = tensors.place()
    return Plan(
        name=program.name,
        target=target.name,
        tensors=placed,
        calls=calls,
        inputs=inputs,
        outputs=outputs,
        arena_bytes=arena_bytes,
        arena_bound_bytes=bound_bytes,
        weights=tensors.weights.contents.finish(),
        objects=objects,
    )


def _set_aliases(program: Program) -> None:
    for operation in program.operations:
        if isinstance(operation.kind, Reinterpret):
            operation.output.alias_of = operation.inputs[0]


def _port(value: Value, tensor: int, name: str) -> PlanPort:
    return PlanPort(name, tensor, value.dtype, value.shape)


def _plan_call(step: Step, indices: tuple[int, ...], target: Target) -> PlanCall:
    choice, call, operation = step.choice, step.call, step.choice.operation
    done, end = (
        call.multiply_adds * items // call.work_items
        for items in (step.first, step.first + step.count)
    )
    return PlanCall(
        kernel=call.kernel.symbol,
        arguments=indices,
        work_items=step.count,
        first_item=step.first,
        operator=operator_name(operation),
        schedule=choice.schedule,
        nodes=operation.nodes,
        source=operation.source,
        multiply_adds=end - done,
        workspace_bytes=call.workspace_bytes,
        grain_items=min(step.count, grain_items(call, target)),
    )


def operator_name(operation: Operation) -> str:
    """Name of an operation for reports."""
    kind = operation.kind
    if isinstance(kind, Fallback):
        return f"Fallback({kind.operator})"
    return type(kind).__name__
