"""What a definition asks about the node that it stands for, and the body that it writes."""

import math

import numpy as np
import onnx
import onnx_ir as ir

from edgecomp.graph.body import Body
from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.uses import is_used


class Call(Body):
    """A body that knows its node: inputs are ``i0``, ``i1`` ..., outputs ``y``, ``y1`` ...

    Attributes:
        node: the node that is defined; the types of its inputs are known.
    """

    def __init__(self, node: ir.Node) -> None:
        super().__init__()
        self.node = node

    def has(self, index: int) -> bool:
        """Whether an optional input is there."""
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def wants(self, index: int) -> bool:
        """Whether anything reads an output."""
        return index < len(self.node.outputs) and is_used(self.node.outputs[index])

    def shape(self, index: int) -> tuple[int, ...] | None:
        """Extents of an input; None where it is absent or they are not known."""
        return static_shape(self.node.inputs[index]) if self.has(index) else None

    def known(self, *indices: int) -> bool:
        """Whether the shapes of those inputs that are there are known."""
        return all(self.shape(index) is not None for index in indices if self.has(index))

    def elements(self, index: int) -> int | None:
        """Elements of an input."""
        shape = self.shape(index)
        return None if shape is None else math.prod(shape)

    def array(self, index: int) -> AnyArray | None:
        """Contents of a constant input, None where it is absent or computed."""
        return constant_array(self.node.inputs[index]) if self.has(index) else None

    def dtype(self, index: int) -> ir.DataType:
        """Element type of an input."""
        value = self.node.inputs[index]
        assert value is not None
        assert value.dtype is not None
        return value.dtype

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        return self.node.attributes.get_int(name, default)

    def number(self, name: str, default: float) -> float:
        """A float attribute."""
        return self.node.attributes.get_float(name, default)

    def scalar(self, index: int) -> str:
        """An input of one element without dimensions: [1] and scalars are both in use."""
        return self.add("Squeeze", f"i{index}") if self.shape(index) else f"i{index}"

    def parameter(self, index: int) -> str:
        """Scale or zero point: one without dimensions, or one per column; "" where absent."""
        if not self.has(index):
            return ""
        return self.scalar(index) if self.elements(index) == 1 else f"i{index}"

    def kept(self, *names: str) -> list[onnx.AttributeProto]:
        """Those attributes of the node that are there."""
        return [
            ir.serde.serialize_attribute(self.node.attributes[name])
            for name in names
            if name in self.node.attributes
        ]

    def with_attributes(
        self,
        operator: str,
        *inputs: str,
        attributes: list[onnx.AttributeProto],
        to: str = "",
    ) -> str:
        """A node with attributes of the node that is defined."""
        result = self.add(operator, *inputs, to=to)
        self.nodes[-1].attribute.extend(attributes)
        return result

    def transposed(self, x: str, *permutation: int, to: str = "") -> str:
        """Transpose."""
        return self.add("Transpose", x, perm=list(permutation), to=to)

    def scaled(self, x: str, factor: float, to: str = "") -> str:
        """The product with a number, in the element type of x."""
        if factor == 1.0:
            return self.add("Identity", x, to=to) if to else x
        return self.add("Mul", x, self.like(factor, x), to=to)

    def zeros(self, shape: tuple[int, ...], other: str) -> str:
        """Zeros in the element type of another value."""
        return self.add("CastLike", self.constant(np.zeros(shape, np.float32)), other)
