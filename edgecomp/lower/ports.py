"""What a model's inputs and outputs may be, looked at before any work is done."""

import dataclasses
from collections.abc import Iterator

import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.element_types import COMMON_TYPES, UNCOMMON_TYPES

#: Element types that the runtime passes.
DTYPES = COMMON_TYPES | UNCOMMON_TYPES
#: Dimensions of a port in edgecomp/model.h.
MOST_DIMENSIONS = 8


@dataclasses.dataclass(frozen=True)
class Port:
    """An input or output that no bundle can have.

    Attributes:
        kind: "input" or "output".
        name: of the graph's value.
        problem: what is wrong with it.
    """

    kind: str
    name: str
    problem: str


def require_ports(model: ir.Model) -> None:
    """Refuse inputs and outputs that no bundle can have.

    Raises:
        EdgecompError: OPERATOR_UNSUPPORTED listing all of them.
    """
    ports = list(refused_ports(model.graph))
    if ports:
        texts = [f"{port.kind} '{port.name}' {port.problem}" for port in ports]
        raise EdgecompError(
            Code.OPERATOR_UNSUPPORTED,
            "inputs or outputs that cannot be compiled: " + "; ".join(texts),
            node=ports[0].name,
            hint=f"export with tensors of at most {MOST_DIMENSIONS} dimensions, of floats (32, 64 "
            "or 16 bits), integers or booleans",
        )


def refused_ports(graph: ir.Graph) -> Iterator[Port]:
    """All inputs and outputs that no bundle can have."""
    for kind, values in (("input", graph.inputs), ("output", graph.outputs)):
        for value in values:
            name = value.name or ""
            if not isinstance(value.type, ir.TensorType):
                yield Port(kind, name, f"is {value.type}, not a tensor")
            elif value.dtype not in DTYPES:
                yield Port(kind, name, f"has element type {value.dtype}")
            elif value.shape is not None and len(value.shape) > MOST_DIMENSIONS:
                yield Port(kind, name, f"has {len(value.shape)} dimensions")
