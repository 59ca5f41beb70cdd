"""The cheapest choice of one of two labels per variable, by a minimum cut.

    plain or special: each variable has a cost for either label;
    a value passes from a variable to others: where labels differ it is converted, once,
    however many of its readers want it.

Both kinds of cost fit the capacities of a network whose cuts are the labelings, so that the
minimum cut is the exact optimum (Greig, Porteous, Seheult, "Exact Maximum A Posteriori
Estimation for Binary Images", 1989).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

#: The capacities together, which scipy takes as 32-bit integers.
_CAPACITY_SUM = 1_000_000_000


@dataclasses.dataclass(frozen=True)
class Variable:
    """Costs of the two labels, not negative."""

    plain: float
    special: float


@dataclasses.dataclass(frozen=True)
class Flow:
    """A value that passes between variables.

    Attributes:
        producer: index of the variable that makes it, None for one that is always plain.
        readers: indices of variables that read it as they are labeled.
        plain_reader: whether something that is always plain reads it too.
        to_special: cost of its conversion where the producer is plain and a reader special.
        to_plain: cost where the producer is special and a reader plain.
    """

    producer: int | None
    readers: tuple[int, ...]
    plain_reader: bool
    to_special: float
    to_plain: float


def flow_cost(flow: Flow, special: Sequence[bool]) -> float:
    """Cost of the conversions of one value under a labeling."""
    if flow.producer is None or not special[flow.producer]:
        return flow.to_special if any(special[r] for r in flow.readers) else 0.0
    converted = flow.plain_reader or not all(special[r] for r in flow.readers)
    return flow.to_plain if converted else 0.0


def cheapest_labels(variables: Sequence[Variable], flows: Sequence[Flow]) -> list[bool]:
    """Which variables are special in the cheapest labeling; among equals the fewest."""
    network = _Network(len(variables))
    for index, variable in enumerate(variables):
        network.connect(network.SOURCE, network.node(index), variable.plain)
        network.connect(network.node(index), network.SINK, variable.special)
    for flow in flows:
        producer = network.SINK if flow.producer is None else network.node(flow.producer)
        readers = [network.node(reader) for reader in flow.readers]
        wanted = network.new_node()
        network.connect(wanted, producer, flow.to_special)
        for reader in readers:
            network.forbid(reader, wanted)
        if flow.producer is not None:
            given = network.new_node()
            network.connect(producer, given, flow.to_plain)
            for reader in [*readers, *([network.SINK] if flow.plain_reader else [])]:
                network.forbid(given, reader)
    reached = network.source_side()
    return [network.node(index) in reached for index in range(len(variables))]


class _Network:
    """A directed network; source means special, sink means plain."""

    SOURCE, SINK = 0, 1

    def __init__(self, variables: int) -> None:
        self._count = 2 + variables
        self._edges: dict[tuple[int, int], float] = {}
        self._forbidden: set[tuple[int, int]] = set()

    @staticmethod
    def node(variable: int) -> int:
        """Node of a variable."""
        return 2 + variable

    def new_node(self) -> int:
        """One more."""
        self._count += 1
        return self._count - 1

    def connect(self, start: int, end: int, capacity: float) -> None:
        """Pay ``capacity`` where ``start`` is special and ``end`` plain."""
        self._edges[start, end] = self._edges.get((start, end), 0.0) + capacity

    def forbid(self, start: int, end: int) -> None:
        """Never ``start`` special and ``end`` plain."""
        self._forbidden.add((start, end))

    def source_side(self) -> set[int]:
        """Nodes on the source's side of the smallest minimum cut."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import breadth_first_order, maximum_flow

        total = sum(self._edges.values())
        scale = _CAPACITY_SUM / total if total else 0.0
        capacities = {pair: round(cost * scale) for pair, cost in self._edges.items()}
        for pair in self._forbidden:
            capacities[pair] = _CAPACITY_SUM + len(self._edges)
        # The reverse of every edge is in the matrix too: the flow's residual needs its place.
        for start, end in list(capacities):
            capacities.setdefault((end, start), 0)
        starts, ends = np.array(list(capacities), np.int32).reshape(-1, 2).T
        values = np.fromiter(capacities.values(), np.int32)
        shape = (self._count, self._count)
        graph = csr_array((values, (starts, ends)), shape=shape)
        flow = maximum_flow(graph, self.SOURCE, self.SINK).flow
        residual = (graph - flow).tocsr()
        residual.eliminate_zeros()
        order = breadth_first_order(residual, self.SOURCE, return_predecessors=False)
        return {int(node) for node in order}
