"""Channel elements, what is known of them, and what holds them in place.

Every value that has channels carries an array of element ids along its channel axis. Two places
that can only be dropped together have the same id, or ids joined in one group. A group can be
dropped when nothing pins it: a pin is a place that needs one of its elements, with the reason.
"""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray
from edgecomp.graph.shapes import static_shape


@dataclasses.dataclass
class Channels:
    """Channels of one value.

    Attributes:
        axis: the dimension they lie along.
        ids: int64 [extent], element ids.
        constant: float64 [extent], the number that the whole channel equals; nan where it is
            not one number, or not known.
    """

    axis: int
    ids: AnyArray
    constant: AnyArray

    def __post_init__(self) -> None:
        """Lengths agree."""
        assert self.ids.shape == self.constant.shape


@dataclasses.dataclass(frozen=True)
class Pin:
    """Why an element has to stay."""

    node: ir.Node | None
    reason: str


#: Rewrites one node once it is known what is kept: called with keep masks by value.
Apply = Callable[["Kept"], None]


class State:
    """What the analysis collects while it walks the graph in order."""

    def __init__(self) -> None:
        self.channels: dict[ir.Value, Channels] = {}
        self.applies: list[Apply] = []
        self.pins: dict[int, Pin] = {}
        self.seeds: list[tuple[ir.Node, AnyArray, AnyArray]] = []
        #: Elements of which one has to stay: a value must not become empty.
        self.nonempty: list[AnyArray] = []
        #: Ids of constant operands of a Concat, by node and operand.
        self.constant_parts: dict[tuple[ir.Node, ir.Value], AnyArray] = {}
        self._parents: list[int] = []

    def of(self, value: ir.Value | None) -> Channels | None:
        """Channels of a value, None where it has none that are known."""
        return None if value is None else self.channels.get(value)

    def new_ids(self, count: int) -> AnyArray:
        """Fresh element ids."""
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return np.arange(start, start + count, dtype=np.int64)

    def root(self, element: int) -> int:
        """Representative of an element's group."""
        parents = self._parents
        while parents[element] != element:
            parents[element] = parents[parents[element]]
            element = parents[element]
        return element

    def roots(self, ids: AnyArray) -> AnyArray:
        """Representatives of many elements."""
        return np.array([self.root(int(each)) for each in ids], dtype=np.int64)

    def join(self, first: AnyArray, second: AnyArray) -> None:
        """Let elements at the same position be dropped only together."""
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            low, high = sorted((self.root(one), self.root(other)))
            self._parents[high] = low

    def pin(self, ids: AnyArray | Iterable[int], node: ir.Node | None, reason: str) -> None:
        """Hold elements in place; the first reason counts."""
        for each in np.asarray(ids).tolist():
            self.pins.setdefault(int(each), Pin(node, reason))

    def pin_value(self, value: ir.Value | None, node: ir.Node | None, reason: str) -> None:
        """Hold all channels of a value."""
        found = self.of(value)
        if found is not None:
            self.pin(found.ids, node, reason)

    def set(self, value: ir.Value, axis: int, ids: AnyArray, constant: AnyArray) -> None:
        """Say what is known of a value's channels."""
        shape = static_shape(value)
        assert shape is not None
        assert shape[axis] == len(ids), (value.name, shape, axis, len(ids))
        self.channels[value] = Channels(axis, ids, np.asarray(constant, np.float64))

    def seed(self, node: ir.Node, axis: int, constant: AnyArray, zeros: AnyArray) -> AnyArray:
        """Channels that begin at a node's first output; returns their ids.

        Args:
            node: the producing node.
            axis: of its output.
            constant: see ``Channels``.
            zeros: bool [extent], channels whose weights are all zero: pruned ones.
        """
        value = node.outputs[0]
        ids = self.new_ids(len(constant))
        self.set(value, axis, ids, constant)
        self.seeds.append((node, ids, zeros))
        self.nonempty.append(ids)
        return ids

    def consume(
        self, value: ir.Value | None, node: ir.Node, ignored: AnyArray, foldable: bool
    ) -> AnyArray | None:
        """A product reads a value's channels: pin those it needs.

        Args:
            value: the product's input.
            node: the product.
            ignored: bool [extent], channels whose weights here are all zero.
            foldable: whether any constant can go into the bias (else only 0).

        Returns:
            float64 [extent], the constants to fold where a channel is dropped (0 where it is
            ignored), or None where the value's channels are not known.
        """
        found = self.of(value)
        if found is None:
            return None
        constant = np.where(ignored, 0.0, found.constant)
        unknown = np.isnan(constant)
        self.pin(found.ids[unknown], node, "the channel is not zero and is read here")
        if not foldable:
            stuck = ~unknown & (constant != 0)
            self.pin(
                found.ids[stuck],
                node,
                "the channel is a constant other than 0, which would not reach the padding",
            )
        return constant


@dataclasses.dataclass
class Kept:
    """The solution: which elements stay."""

    state: State
    dropped: set[int]  # roots

    def mask(self, ids: AnyArray) -> AnyArray:
        """Bool [extent], true where the element stays."""
        return np.array(
            [self.state.root(each) not in self.dropped for each in ids.tolist()], bool
        )

    def of(self, value: ir.Value | None) -> AnyArray | None:
        """Mask of a value's channels, None where they are not known or all stay."""
        found = self.state.of(value)
        if found is None:
            return None
        mask = self.mask(found.ids)
        return None if mask.all() else mask
