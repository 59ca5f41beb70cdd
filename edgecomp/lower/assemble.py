"""Selected kernel calls to a plan: lifetimes, arena offsets, one blob of weights."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.lower.arena import Block, alive_through, lower_bound, plan_arena
from edgecomp.lower.flatten import Region
from edgecomp.lower.grain import grain_items
from edgecomp.lower.interleave import Step, interleave
from edgecomp.lower.plan_weights import ALIGNMENT_BYTES, PlanWeights
from edgecomp.lower.select import Selected
from edgecomp.lower.strips import group_bounds
from edgecomp.lower.symbols import SymbolTable
from edgecomp.plan.movement import Reinterpret
from edgecomp.plan.operations import Fallback, Operation, Program, counted_symbol
from edgecomp.plan.plan import (
    APP_DEVICE,
    DEVICES,
    Extent,
    Launch,
    LaunchKind,
    Plan,
    PlanCall,
    PlanCount,
    PlanPort,
    PlanRegion,
    PlanTensor,
    RegionKind,
    Storage,
)
from edgecomp.plan.sizes import has_dynamic, largest_shape
from edgecomp.plan.values import SLACK_BYTES, Array, Value, largest_bytes
from edgecomp.schedules.schedule import Constant, KernelCall


class _Tensors:
    """Plan tensors in the making; views of one memory share one tensor."""

    def __init__(self, alignment_bytes: int, weights: PlanWeights) -> None:
        self._weights = weights
        self._alignment_bytes = alignment_bytes
        self.tensors: list[PlanTensor] = []
        self._index: dict[Value, int] = {}
        self._constants: dict[int, int] = {}
        self._lifetimes: dict[int, list[int]] = {}
        self._owners: dict[int, Value] = {}
        self._overruns: dict[int, int] = {}

    def constant(self, name: str, array: Array) -> int:
        """Index of the tensor of a constant; the array lives as long as the calls."""
        if id(array) not in self._constants:
            self._constants[id(array)] = self._constant(name, array)
        return self._constants[id(array)]

    def _constant(self, name: str, array: Array) -> int:
        offset = self._weights.add(array)
        dtype, shape, size = array.dtype.name, tuple(array.shape), array.nbytes
        tensor = PlanTensor(name, dtype, shape, Storage.WEIGHTS, offset, size)
        for index, known in enumerate(self.tensors):
            same = (known.storage, known.offset_bytes, known.dtype, known.bytes)
            if same == (Storage.WEIGHTS, offset, dtype, size):
                return index
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def touch(self, argument: Value | Constant, call: int, overrun_bytes: int = 0) -> int:
        """Index of an argument's tensor, which is in use at ``call``.

        Args:
            argument: of a call, or a port.
            call: number of the call.
            overrun_bytes: behind the contents, that the call may write as well.
        """
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
                PlanTensor(
                    root.name,
                    root.stored,
                    largest_shape(root.shape),
                    Storage.ARENA,
                    0,
                    largest_bytes(root),
                )
            )
        self._lifetimes.setdefault(index, []).append(call)
        self._overruns[index] = max(self._overruns.get(index, 0), overrun_bytes)
        return index

    def place(
        self, loops: Sequence[tuple[int, int]] = ()
    ) -> tuple[list[PlanTensor], int, int]:
        """Tensors with their offsets, the arena's bytes and the least it could be.

        Args:
            loops: first and last call of each.
        """
        indices = sorted(self._lifetimes)
        blocks = []
        for i in indices:
            touched = self._lifetimes[i]
            first, last = alive_through(loops, min(touched), max(touched))
            size = largest_bytes(self._owners[i]) + self._overruns[i] + SLACK_BYTES
            size = -(-size // self._alignment_bytes) * self._alignment_bytes
            blocks.append(Block(size, first, last))
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
    program: Program,
    selected: list[Selected],
    target: Target,
    weights: PlanWeights,
    regions: Sequence[Region] = (),
) -> Plan:
    """Join everything but weights and objects into the static plan.

    Args:
        program: flat, selected; views are set.
        selected: its calls.
        target: device.
        weights: that the constants are added to.
        regions: branches and loops among the operations.
    """
    alignment = target.gpu.tensor_alignment_bytes if target.gpu else ALIGNMENT_BYTES
    tensors, symbols = _Tensors(alignment, weights), SymbolTable(program.symbols)
    inputs = [
        _port(value, tensors.touch(value, -1), value.name, symbols) for value in program.inputs
    ]
    calls: list[PlanCall] = []
    calls_of: list[Selected] = []
    counts: list[PlanCount] = []
    starts: dict[int, int] = {}
    for operation, part in _parts(program, selected, regions):
        starts[operation] = start = len(calls)
        steps = interleave(part, target)
        bounds = group_bounds([(step.strip, step.strip_flags) for step in steps])
        for step, (first, last) in zip(steps, bounds, strict=True):
            for argument, overrun in _overruns(step.call):
                tensors.touch(argument, start + first, overrun)
            indices = tuple(tensors.touch(a, start + last) for a in step.call.arguments)
            calls_of.append(step.choice)
            calls.append(_plan_call(step, indices, target, symbols))
        for choice in part:
            name = counted_symbol(choice.operation)
            if name:
                at = max(i for i in range(start, len(calls)) if calls_of[i] is choice)
                tensor = tensors.touch(choice.operation.outputs[-1], at)
                counts.append(PlanCount(symbols.number(name), at, tensor))
    starts[len(program.operations)] = len(calls)
    plan_regions = _plan_regions(regions, starts, tensors)
    outputs = [
        _port(value, tensors.touch(value, len(calls)), name, symbols)
        for value, name in zip(program.outputs, program.output_names, strict=True)
    ]
    loops = [r for r in plan_regions if r.kind is RegionKind.LOOP]
    placed, arena_bytes, bound_bytes = tensors.place(
        [(loop.first_call, loop.end_call - 1) for loop in loops]
    )
    if len(counts) != sum(symbol.is_counted for symbol in symbols.symbols):
        raise EdgecompError(Code.INTERNAL, "a dimension is used that nothing counts")
    return Plan(
        name=program.name,
        target=target.name,
        tensors=placed,
        calls=calls,
        inputs=inputs,
        outputs=outputs,
        arena_bytes=arena_bytes,
        arena_bound_bytes=bound_bytes,
        weights=b"",
        objects={},
        regions=plan_regions,
        symbols=symbols.symbols,
        counts=tuple(sorted(counts, key=lambda count: count.call)),
    )


def _overruns(call: KernelCall) -> list[tuple[Value | Constant, int]]:
    """Arguments of a call, and how far behind each of them it may reach."""
    found = call.dynamic.overrun_bytes if call.dynamic else ()
    reach = list(found or (0,) * len(call.arguments))
    for image in call.launch.images if call.launch else ():
        argument = call.arguments[image.argument]
        if isinstance(argument, Value):  # weights are as long as their rows
            whole = image.elements * np.dtype(argument.stored).itemsize
            reach[image.argument] = max(0, whole - largest_bytes(argument))
    return list(zip(call.arguments, reach, strict=True))


def _parts(
    program: Program, selected: Sequence[Selected], regions: Sequence[Region]
) -> Iterator[tuple[int, list[Selected]]]:
    """Stretches of operations between which no branch or loop begins or ends."""
    ends = {region.first for region in regions} | {region.end for region in regions}
    borders = sorted({0, *ends, len(program.operations)})
    position = {id(operation): at for at, operation in enumerate(program.operations)}
    rest = list(selected)
    for first, end in itertools.pairwise(borders):
        part = list(itertools.takewhile(lambda s: position[id(s.operation)] < end, rest))  # noqa: B023
        rest = rest[len(part) :]
        yield first, part


def _plan_regions(
    regions: Sequence[Region], starts: Mapping[int, int], tensors: _Tensors
) -> list[PlanRegion]:
    """Regions over calls; what the runtime reads and writes for them is in use meanwhile."""
    made = []
    for region in regions:
        first, end = starts[region.first], starts[region.end]
        if first == end:
            continue  # nothing but views

        def used(value: Value | None, first: int = first, end: int = end) -> int | None:
            if value is None:
                return None
            tensors.touch(value, first)
            return tensors.touch(value, end - 1)

        made.append(
            PlanRegion(
                region.kind,
                first,
                end,
                used(region.condition),
                region.expected,
                used(region.limit),
                used(region.counter),
                region.most_rounds,
            )
        )
    return made


def set_aliases(program: Program) -> None:
    """Tell every view whose memory it is."""
    for operation in program.operations:
        if isinstance(operation.kind, Reinterpret):
            operation.output.alias_of = operation.inputs[0]


def _port(value: Value, tensor: int, name: str, symbols: SymbolTable) -> PlanPort:
    extents: tuple[Extent, ...] = ()
    if has_dynamic(value.shape):
        extents = tuple(symbols.extent(extent) for extent in value.shape)
    return PlanPort(name, tensor, value.dtype, largest_shape(value.shape), extents)


def _plan_call(
    step: Step, indices: tuple[int, ...], target: Target, symbols: SymbolTable
) -> PlanCall:
    choice, call, operation = step.choice, step.call, step.choice.operation
    done, end = (
        call.multiply_adds * items // call.work_items
        for items in (step.first, step.first + step.count)
    )
    if call.launch is not None:
        assert target.gpu is not None
        made = _device_call(
            step, indices, call.launch, DEVICES.get(target.gpu.api, APP_DEVICE)
        )
        dynamic = symbols.call(call.dynamic) if call.dynamic else None
        return dataclasses.replace(made, dynamic=dynamic)
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
        strip=step.strip,
        strip_flags=step.strip_flags,
        dynamic=symbols.call(call.dynamic) if call.dynamic else None,
    )


_COPIES = {LaunchKind.TO_DEVICE: "CopyToDevice", LaunchKind.FROM_DEVICE: "CopyFromDevice"}


def _device_call(
    step: Step, indices: tuple[int, ...], launch: Launch, device: int
) -> PlanCall:
    choice, call, operation = step.choice, step.call, step.choice.operation
    copy = _COPIES.get(launch.kind, "")
    return PlanCall(
        kernel=call.kernel.symbol,
        arguments=indices,
        work_items=1,
        operator=copy or operator_name(operation),
        schedule="copy" if copy else choice.schedule,
        nodes=operation.nodes,
        source=operation.source,
        multiply_adds=call.multiply_adds,
        device=device,
        launch=launch,
    )


def operator_name(operation: Operation) -> str:
    """Name of an operation for reports."""
    kind = operation.kind
    if isinstance(kind, Fallback):
        return f"Fallback({kind.operator})"
    return type(kind).__name__
