"""What a node says apart from the tensors it computes with."""

from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import torch

from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.shapes import static_shape
from edgecomp.train.refusal import Unsupported

#: Types of tensors that operators compute with.
TYPES = {
    ir.DataType.FLOAT: torch.float32,
    ir.DataType.DOUBLE: torch.float64,
    ir.DataType.FLOAT16: torch.float16,
    ir.DataType.BFLOAT16: torch.bfloat16,
    ir.DataType.INT32: torch.int32,
    ir.DataType.INT64: torch.int64,
    ir.DataType.BOOL: torch.bool,
}

#: Tensors in input order, None for absent ones, to results in output order.
Function = Callable[..., Any]
#: A node to its function; Unsupported where a form of it has none.
Builder = Callable[[ir.Node], Function]


def shape_of(value: ir.Value | None) -> tuple[int, ...]:
    """Static extents."""
    found = static_shape(value)
    if found is None:
        raise Unsupported(f"the shape of {'' if value is None else value.name} is not known")
    return found


def has_input(node: ir.Node, index: int) -> bool:
    """Whether an optional input is given."""
    return len(node.inputs) > index and node.inputs[index] is not None


def constant_input(node: ir.Node, index: int) -> AnyArray | None:
    """Contents of a constant input, None where it is absent."""
    if not has_input(node, index):
        return None
    found = constant_array(node.inputs[index])
    if found is None:
        raise Unsupported(f"its input {index} is not constant")
    return found


def whole_numbers(node: ir.Node, index: int, attribute: str = "") -> list[int] | None:
    """Integers from a constant input, or from the attribute of older operator sets."""
    given = constant_input(node, index)
    if given is not None:
        return [int(each) for each in given.reshape(-1)]
    known = node.attributes.get_ints(attribute) if attribute else None
    return None if known is None else list(known)


def number(node: ir.Node, name: str, default: float) -> float:
    """A float attribute."""
    return float(node.attributes.get_float(name, default))
