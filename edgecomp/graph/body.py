"""The nodes of a definition, written one after the other."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx.helper import make_node


class Body:
    """Collects nodes; every method returns the name of its result.

    Attributes:
        nodes: so far, in order.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._count = 0

    def constant(self, array: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> str:
        """A constant; Python's integers are int64."""
        tensor = onnx.numpy_helper.from_array(np.asarray(array, dtype))
        return self.add("Constant", value=tensor)

    def integers(self, *values: int) -> str:
        """A list of int64: axes, shapes, starts."""
        return self.constant(np.array(values, np.int64))

    def like(self, number: float, other: str) -> str:
        """A scalar in the element type of another value."""
        return self.add("CastLike", self.constant(number, np.float32), other)

    def add(self, operator: str, *inputs: str, to: str = "", **attributes: Any) -> str:
        """A node of one output, called ``to`` where that is given.

        The attribute ``to`` of a Cast is given as ``to_type``.
        """
        if "to_type" in attributes:
            attributes["to"] = attributes.pop("to_type")
        self._count += 1
        name = to or f"n{self._count}"
        self.nodes.append(make_node(operator, list(inputs), [name], **attributes))
        return name

    def several(
        self, operator: str, inputs: list[str], count: int, **attributes: Any
    ) -> list[str]:
        """A node of ``count`` outputs."""
        self._count += 1
        names = [f"n{self._count}_{index}" for index in range(count)]
        self.nodes.append(make_node(operator, inputs, names, **attributes))
        return names

    def bounded(self, index: str, extent: int) -> str:
        """int64 indices brought into 0 .. extent - 1: no input may reach other memory."""
        low, high = self.constant(np.int64(0)), self.constant(np.int64(extent - 1))
        return self.add("Clip", index, low, high)

    def reshaped(self, x: str, shape: tuple[int, ...], to: str = "") -> str:
        """Reshape to a known shape."""
        return self.add("Reshape", x, self.integers(*shape), to=to)
