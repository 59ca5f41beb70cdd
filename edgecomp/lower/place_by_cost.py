"""Which operations of a program run on the GPU, so that a run takes the least time.

    conv (cpu 40 us, gpu 10 us) -> cumsum (no kernel for the GPU) -> conv (cpu 5 us, gpu 9 us)
    ->
    gpu, where 30 us pay for a copy and a wait; processor; processor

A run is the sum of its operations where they are, of the copies between the memories, as
``place_copies`` puts them, and of a wait wherever the processor goes on behind the GPU, as the
runtime makes it. Devices wait for each other there, so that nothing runs at one time. The least
such sum is a minimum cut (``graph.labeling``): exact, not greedy. Where dimensions are dynamic,
prices and copies are those of the largest sizes.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from edgecomp.device.target import GpuSpeed
from edgecomp.graph.labeling import Flow, Variable, cheapest_labels, flow_cost
from edgecomp.lower.gpu_price import copy_seconds
from edgecomp.lower.place_copies import root_of, used_memory
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.values import Value


@dataclasses.dataclass(frozen=True)
class Prices:
    """Seconds of one operation.

    Attributes:
        operation: makes calls.
        processor: on it.
        gpu: there; None where it has no kernel.
        why_not: why it has none.
        measured: whether these were measured: "processor", "gpu", both with a comma, or "".
    """

    operation: Operation
    processor: float
    gpu: float | None
    why_not: str = ""
    measured: str = ""


@dataclasses.dataclass(frozen=True)
class PlacedOperation:
    """Where an operation runs.

    Attributes:
        prices: on both.
        on_gpu: whether it runs there.
        why: in words.
    """

    prices: Prices
    on_gpu: bool
    why: str


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where everything runs.

    Attributes:
        operations: in the program's order.
        seconds: of a run.
        processor_seconds: if all were on the processor.
        gpu_seconds: if everything that can were on the GPU.
        copy_seconds: what of ``seconds`` is copies and waiting.
        sizes: of dynamic dimensions, for which all these times are.
    """

    operations: Sequence[PlacedOperation]
    seconds: float
    processor_seconds: float
    gpu_seconds: float
    copy_seconds: float
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def left(self) -> dict[Operation, str]:
        """Operations that the GPU could compute and does not, with the reason."""
        return {
            placed.prices.operation: placed.why
            for placed in self.operations
            if not placed.on_gpu and placed.prices.gpu is not None
        }


def place_by_cost(program: Program, prices: Sequence[Prices], speed: GpuSpeed) -> Placement:
    """The cheapest placement.

    Args:
        program: without branches and loops; views are set.
        prices: of its operations that make calls, in order.
        speed: of the GPU.
    """
    numbers: list[int | None] = []
    for each in prices:
        taken = sum(number is not None for number in numbers)
        numbers.append(taken if each.gpu is not None else None)
    able = [each for each in prices if each.gpu is not None]
    flows = [
        *_copies(program, prices, numbers, speed),
        *_waits(numbers, speed.wait_us * 1e-6),
    ]
    variables = [Variable(each.processor, each.gpu or 0.0) for each in able]
    labels = cheapest_labels(variables, flows)
    fixed = sum(each.processor for each in prices if each.gpu is None)

    def moving(on_gpu: Sequence[bool]) -> float:
        return sum(flow_cost(flow, on_gpu) for flow in flows)

    def total(on_gpu: Sequence[bool]) -> float:
        there = zip(variables, on_gpu, strict=True)
        own = sum(v.special if is_there else v.plain for v, is_there in there)
        return fixed + own + moving(on_gpu)

    return Placement(
        operations=[
            _placed(each, number is not None and labels[number])
            for each, number in zip(prices, numbers, strict=True)
        ],
        seconds=total(labels),
        processor_seconds=total([False] * len(able)),
        gpu_seconds=total([True] * len(able)),
        copy_seconds=moving(labels),
        sizes={
            symbol.name: symbol.maximum * symbol.step
            for symbol in program.symbols
            if symbol.numerator is None
        },
    )


def _placed(prices: Prices, on_gpu: bool) -> PlacedOperation:
    if prices.gpu is None:
        return PlacedOperation(prices, False, prices.why_not)
    if on_gpu:
        faster = prices.gpu <= prices.processor
        why = (
            "faster there"
            if faster
            else "beside operations of the GPU: copies would take longer"
        )
        return PlacedOperation(prices, True, why)
    faster = prices.processor <= prices.gpu
    why = (
        "faster on the processor"
        if faster
        else "copies and waiting take longer than they save"
    )
    return PlacedOperation(prices, False, why)


@dataclasses.dataclass
class _Version:
    """What a memory holds from one writer to the next.

    Attributes:
        writer: number of the operation, None for the user.
        readers: numbers of those that find it in the memory, the next writer included.
    """

    writer: int | None
    readers: list[int] = dataclasses.field(default_factory=list)


def _copies(
    program: Program, prices: Sequence[Prices], numbers: Sequence[int | None], speed: GpuSpeed
) -> list[Flow]:
    """One flow for every content of every memory that is used behind its writer."""
    current = {root_of(value): _Version(None) for value in program.inputs}
    flows: list[Flow] = []
    ports = {root_of(value) for value in program.outputs}

    def end(value: Value, version: _Version, *, is_output: bool) -> None:
        readers = [numbers[reader] for reader in version.readers]
        writer = None if version.writer is None else numbers[version.writer]
        cost = copy_seconds(value, speed)
        flows.append(
            Flow(
                writer,
                tuple(dict.fromkeys(n for n in readers if n is not None)),
                is_output or None in readers,
                cost,
                cost,
            )
        )

    for at, each in enumerate(prices):
        for value in used_memory(each.operation):
            if value in current:
                current[value].readers.append(at)
        for value in dict.fromkeys(map(root_of, each.operation.outputs)):
            if value in current:
                end(value, current[value], is_output=False)
            current[value] = _Version(at)
    for value, version in current.items():
        end(value, version, is_output=value in ports)
    return flows


def _waits(numbers: Sequence[int | None], seconds: float) -> list[Flow]:
    """A wait where the processor goes on behind the GPU, and at the end."""
    flows = []
    for at, number in enumerate(numbers):
        if number is None:
            continue
        following = numbers[at + 1] if at + 1 < len(numbers) else None
        readers = () if following is None else (following,)
        flows.append(Flow(number, readers, following is None, 0.0, seconds))
    return flows
