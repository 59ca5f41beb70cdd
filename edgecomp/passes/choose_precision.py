"""Decide which layers of a float model are worth computing in 8 bits on a device.

    x -> Conv -> Relu -> LayerNormalization -> MatMul -> y

Each layer has a price in float and one in 8 bits; where the precision changes between layers a
value is converted, which has a price too. The cheapest assignment is a minimum cut
(``graph.labeling``). Nodes that one kernel computes together in either form are one layer here:
they stay together.

8 bits cost accuracy, and prices are off by some percent: a layer becomes integer only where it
is faster by more than that.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import onnx_ir as ir

from edgecomp.graph.constants import is_constant
from edgecomp.graph.labeling import Flow, Variable, cheapest_labels, flow_cost
from edgecomp.passes.layer_prices import LayerPrice, PriceSum, measured_scale
from edgecomp.passes.quantization_scope import Block, Scope
from edgecomp.plan.prices import ConversionPrice, Price

#: An integer layer takes at most this part of the float layer's time: nothing is given away
#: for less than prices are sure of.
LEAST_GAIN_MODELLED = 0.95
LEAST_GAIN_MEASURED = 0.98


@dataclasses.dataclass(frozen=True)
class Layer:
    """Nodes that are decided together.

    Attributes:
        nodes: names of the nodes that can be integer, in order; the first names the layer.
        integer: the decision.
        float_seconds, integer_seconds: of its kernels in either form.
        conversion_seconds: that computing this layer alone in the other way would add.
        measured: whether its products were measured on the target in either form.
    """

    nodes: tuple[str, ...]
    integer: bool
    float_seconds: float
    integer_seconds: float
    conversion_seconds: float
    measured: bool

    @property
    def reason(self) -> str:
        """Why it is computed as it is."""
        figures = (
            f"int8 {time_text(self.integer_seconds)}, float {time_text(self.float_seconds)}, "
            f"conversions {time_text(max(0.0, self.conversion_seconds))}"
        )
        return f"{figures}, {'measured' if self.measured else 'modelled'}"


@dataclasses.dataclass(frozen=True)
class PricedLayers:
    """What a choice of precisions is made from, whoever makes it.

    Attributes:
        blocks: of each layer that can be integer.
        prices: of each of these layers.
        flows: values between them, by their indices.
        seconds: of everything else.
    """

    blocks: tuple[tuple[Block, ...], ...]
    prices: tuple[LayerPrice, ...]
    flows: tuple[Flow, ...]
    seconds: float


def least_gain(*, measured: bool) -> float:
    """Part of the float time that integer layers may take at most."""
    return LEAST_GAIN_MEASURED if measured else LEAST_GAIN_MODELLED


def quantized_values(scope: Scope) -> list[ir.Value]:
    """Variable values that a labeling may have to convert."""
    values: dict[ir.Value, None] = {}
    for block in scope.blocks:
        values.update(dict.fromkeys(block.input_values))
        values.update(dict.fromkeys(block.outputs))
    return [value for value in values if not is_constant(value)]


def choose_precision(
    scope: Scope,
    float_prices: Sequence[Price],
    integer_prices: Sequence[Price],
    conversions: Mapping[str, ConversionPrice],
) -> list[Layer]:
    """Choose per layer.

    Args:
        scope: what 8 bits would be if all that can be were.
        float_prices: of the float program.
        integer_prices: of the program under ``scope``. Operations that stand for no node of
            the float model are conversions, which ``conversions`` prices.
        conversions: value name -> price, for ``quantized_values``.

    Returns:
        The layers with blocks of ``scope``, in order.
    """
    layers = _Layers(scope, float_prices, integer_prices)
    flows = _flows(scope, layers, conversions)
    special = cheapest_labels(layers.variables(), flows)
    result = []
    for index, blocks in layers.with_blocks():
        other = [*special]
        other[index] = not special[index]
        touching = [f for f in flows if index == f.producer or index in f.readers]
        change = sum(flow_cost(f, other) - flow_cost(f, special) for f in touching)
        price = layers.prices[index]
        result.append(
            Layer(
                tuple(n.name or "" for b in blocks for n in b.nodes),
                special[index],
                price.plain,
                price.integer,
                change,
                price.measured,
            )
        )
    return result


def price_layers(
    scope: Scope,
    float_prices: Sequence[Price],
    integer_prices: Sequence[Price],
    conversions: Mapping[str, ConversionPrice],
) -> PricedLayers:
    """The layers with their prices; arguments as for ``choose_precision``."""
    layers = _Layers(scope, float_prices, integer_prices)
    found = dict(layers.with_blocks())
    places = {layer: place for place, layer in enumerate(found)}
    flows = [
        dataclasses.replace(
            flow,
            producer=None if flow.producer is None else places[flow.producer],
            readers=tuple(places[reader] for reader in flow.readers),
        )
        for flow in _flows(scope, layers, conversions)
    ]
    others = (p.plain for index, p in enumerate(layers.prices) if index not in found)
    return PricedLayers(
        tuple(tuple(blocks) for blocks in found.values()),
        tuple(layers.prices[index] for index in found),
        tuple(flows),
        sum(others),
    )


class _Layers:
    """Nodes joined to layers, with the price of each in float and in 8 bits.

    Attributes:
        prices: of each layer.
        scale: what modelled seconds are multiplied by.
    """

    def __init__(
        self, scope: Scope, float_prices: Sequence[Price], integer_prices: Sequence[Price]
    ) -> None:
        names = {name for price in float_prices for name in price.nodes}
        for block in scope.blocks:
            names.update(_names(block))
        self._parent = {name: name for name in names}
        for block in scope.blocks:
            self._join(_names(block))
        both = [
            [(tuple(n for n in p.nodes if n in names), p) for p in prices]
            for prices in (float_prices, integer_prices)
        ]
        for known, _ in (*both[0], *both[1]):
            self._join(known)
        self._index: dict[str, int] = {}
        for name in sorted(names):
            self._index.setdefault(self._root(name), len(self._index))
        sums = [(PriceSum(), PriceSum()) for _ in self._index]
        self.scale = measured_scale((*float_prices, *integer_prices))
        for form, prices in enumerate(both):
            for known, price in prices:
                if known:
                    sums[self.of(known[0])][form].add(price, self.scale)
        self.prices = [LayerPrice.of(*pair) for pair in sums]
        self._blocks: dict[int, list[Block]] = {}
        for block in scope.blocks:
            self._blocks.setdefault(self.of(block.node.name or ""), []).append(block)

    def of(self, node: str) -> int:
        """The layer of a node."""
        return self._index[self._root(node)]

    def with_blocks(self) -> Iterable[tuple[int, list[Block]]]:
        """Layers that can be integer, in the order of their first blocks."""
        return self._blocks.items()

    def variables(self) -> list[Variable]:
        """Costs of both forms; layers without blocks are the same in either."""
        result = []
        for index, price in enumerate(self.prices):
            if index not in self._blocks:
                # What follows from its neighbours' precision is theirs to pay.
                result.append(Variable(price.plain, price.plain))
                continue
            gain = least_gain(measured=price.measured)
            result.append(Variable(price.plain, price.integer / gain))
        return result

    def _root(self, name: str) -> str:
        while self._parent[name] != name:
            name = self._parent[name]
        return name

    def _join(self, names: Sequence[str]) -> None:
        for name in names[1:]:
            first, second = sorted((self._root(names[0]), self._root(name)))
            self._parent[second] = first


def _names(block: Block) -> tuple[str, ...]:
    return tuple(node.name or "" for node in block.nodes)


def _flows(
    scope: Scope, layers: _Layers, conversions: Mapping[str, ConversionPrice]
) -> list[Flow]:
    makers = {value: block for block in scope.blocks for value in block.outputs}
    reads = {place for block in scope.blocks for place in block.reads}
    flows = []
    for value in scope.stored:
        if is_constant(value):
            continue
        maker = makers.get(value)
        uses = [(use.node, use.idx) for use in value.uses()]
        readers = {layers.of(node.name or "") for node, i in uses if (node, i) in reads}
        plain = value.is_graph_output() or any(use not in reads for use in uses)
        price = conversions[value.name or ""]
        to_plain = price.dequantize
        only_reader = len(uses) == 1 and not value.is_graph_output()
        if (
            maker is not None
            and maker.may_stay_float
            and maker.activation is None
            and only_reader
        ):
            to_plain = price.float_result
        producer = None if maker is None else layers.of(maker.node.name or "")
        costs = (price.quantize * layers.scale, to_plain * layers.scale)
        flows.append(Flow(producer, tuple(sorted(readers)), plain, *costs))
    return flows


def time_text(seconds: float) -> str:
    """A time with three digits."""
    microseconds = seconds * 1e6
    if microseconds >= 1000:
        return f"{microseconds / 1000:.3g} ms"
    return f"{microseconds:.3g} us"
