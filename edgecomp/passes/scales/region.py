"""Values that carry the same channels, from what makes them to what reads them.

    Conv (source) -> Relu -> MaxPool -> Conv (reader)

``v / s`` in place of every value ``v`` of a region, weights of its sources divided by ``s`` and
weights of its readers multiplied by ``s`` compute the same model for any ``s > 0`` per channel.

Each element of a value belongs to a channel of the region: an integer array that broadcasts over
the value says which, so that reshapes, transposes and heads of attention need no cases. The
channel -1 belongs to nobody and keeps its scale, and so does a channel that is pinned: because
something reads or makes it that the scale cannot go through.
"""

import dataclasses
from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecomp.graph.shapes import static_shape

Ids = npt.NDArray[np.int64]
#: Elements of a value whose channels are written out to follow a reshape.
_MOST_ELEMENTS = 1 << 24


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
    """Constants that a scale is moved into.

    Attributes:
        node: Conv, Gemm, MatMul, LayerNormalization, or an elementwise operator with a constant.
        ids: channel of each output (source), of each input (reader), or of each element
            (constant, broadcasting).
        index: of the constant among the node's inputs.
    """

    node: ir.Node
    ids: Ids
    index: int = 1


class Region:
    """One region while it grows, and when it is complete.

    Attributes:
        start: node whose output channels count the region's.
        size: how many channels.
        sources: what makes channels.
        readers: products that read channels.
        constants: of Add and Sub between them, which are divided like values.
        pinned: bool [size + 1], the last one for the channel -1.
        reason: why the first channel was pinned.
        values: value -> channel of each element.
    """

    def __init__(self, start: ir.Node, size: int) -> None:
        self.start = start
        self.size = size
        self.sources: list[Place] = []
        self.readers: list[Place] = []
        self.constants: list[Place] = []
        self.pinned = np.zeros(size + 1, bool)
        self.pinned[-1] = True
        self.reason = ""
        self.values: dict[ir.Value, Ids] = {}
        self._waiting: list[ir.Value] = []
        self._through: dict[ir.Value, ir.Node | None] = {}
        self._at: ir.Node | None = None

    def put(self, value: ir.Value | None, ids: Ids) -> None:
        """State the channels of a value that a node's rule concludes from another one."""
        assert value is not None
        ids = compress(ids)
        known = self.values.get(value)
        if known is None:
            self.values[value] = ids
            self._waiting.append(value)
            self._through[value] = self._at
        elif known.shape != ids.shape or not np.array_equal(known, ids):
            self.pin(known, f"two ways lead to {value.name}, in another order of channels")
            self.pin(ids, "")

    def pin(self, ids: Ids, reason: str) -> None:
        """Keep the scale of some channels."""
        self.pinned[ids.reshape(-1)] = True
        self.reason = self.reason or reason

    def next_value(self) -> ir.Value | None:
        """A value whose neighbours were not looked at."""
        return self._waiting.pop() if self._waiting else None

    def enter(self, node: ir.Node, index: int | None, value: ir.Value) -> bool:
        """Whether a node has to be asked: not where the value was concluded from its inputs."""
        self._at = node
        return index is not None or self._through[value] is not node

    def free(self) -> npt.NDArray[np.bool_]:
        """Mark the channels [size] that have both ends and are not pinned."""
        made, read = np.zeros(self.size + 1, bool), np.zeros(self.size + 1, bool)
        for place in self.sources:
            made[place.ids] = True
        for place in self.readers:
            read[place.ids] = True
        result: npt.NDArray[np.bool_] = (made & read & ~self.pinned)[:-1]
        return result


def is_asked_for(node: ir.Node, only: Collection[str] | None) -> bool:
    """Whether a node is one of those named; None names all."""
    return only is None or (node.name or "") in only


def compress(ids: Ids) -> Ids:
    """The array with extent 1 along every axis that it does not vary along."""
    for axis, extent in enumerate(ids.shape):
        first = ids.take([0], axis=axis) if extent > 1 else ids
        if extent > 1 and (ids == first).all():
            ids = first
    return ids


def spread(ids: Ids, value: ir.Value) -> Ids | None:
    """The channels of all elements, written out; None for a value that is too large."""
    shape = static_shape(value)
    if shape is None or int(np.prod(shape)) > _MOST_ELEMENTS:
        return None
    return np.broadcast_to(ids, shape)


def along(ids: Ids, axis: int, extent: int) -> Ids | None:
    """int64 [extent]: the channels along one axis, None where they vary along another."""
    if any(n != 1 for position, n in enumerate(ids.shape) if position != axis % ids.ndim):
        return None
    return np.broadcast_to(ids.reshape(-1), (extent,))
