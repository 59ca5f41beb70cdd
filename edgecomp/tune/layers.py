"""The layers of a model whose kernels can be measured."""

import dataclasses

import onnx_ir as ir

from edgecomp.device.target import Target
from edgecomp.lower.cost import multiply_adds
from edgecomp.lower.program import laid_out_program, processor_program
from edgecomp.plan.operations import Operation, Program
from edgecomp.schedules.candidates import Candidate, candidates
from edgecomp.schedules.cost_table import CostTable, Measured
from edgecomp.schedules.signature import signature


@dataclasses.dataclass(frozen=True)
class Layer:
    """One kind of layer.

    Attributes:
        signature: what tells it from others.
        operation: the first of the model.
        count: how often the model has it.
        candidates: kernels to measure, that of an untuned build first.
    """

    signature: str
    operation: Operation
    count: int
    candidates: tuple[Candidate, ...]

    def known(self, table: CostTable) -> list[Measured]:
        """What a table says of the candidates; kernels of another version are left out."""
        offered = set(self.candidates)
        entries = table.entries(self.signature)
        return [e for e in entries if Candidate(e.schedule, e.params) in offered]

    @property
    def multiply_adds(self) -> int:
        """Of all of them."""
        return self.count * multiply_adds(self.operation)


@dataclasses.dataclass(frozen=True)
class ModelLayers:
    """What there is to measure.

    Attributes:
        layers: those with the most multiply-adds first: where time runs out, what counts most
            has been measured.
        signatures: nodes of each operation that has a signature, to it.
        passing_bytes: constants read and results written in one inference: what passes through
            the caches between two uses of a layer's weights.
    """

    layers: tuple[Layer, ...]
    signatures: dict[tuple[str, ...], str]
    passing_bytes: int


def collect_layers(model: ir.Model, target: Target) -> ModelLayers:
    """The layers of a portable model with static shapes that have several kernels.

    Raises:
        EdgecompError: OPERATOR_UNSUPPORTED, DIMENSION_FREE.
    """
    program = processor_program(laid_out_program(model, target), target)
    first: dict[str, Operation] = {}
    count: dict[str, int] = {}
    signatures: dict[tuple[str, ...], str] = {}
    for operation in program.operations:
        name = signature(operation)
        if name:
            first.setdefault(name, operation)
            count[name] = count.get(name, 0) + 1
            signatures[operation.nodes] = name
    layers = [
        Layer(name, operation, count[name], tuple(candidates(operation, target)))
        for name, operation in first.items()
    ]
    several = [layer for layer in layers if len(layer.candidates) > 1]
    several.sort(key=lambda layer: (-layer.multiply_adds, layer.signature))
    return ModelLayers(tuple(several), signatures, _passing_bytes(program))


def _passing_bytes(program: Program) -> int:
    constants = {
        id(value.constant): value.constant.nbytes
        for operation in program.operations
        for value in operation.inputs
        if value.constant is not None
    }
    results = sum(value.bytes for op in program.operations for value in op.outputs)
    return sum(constants.values()) + results
