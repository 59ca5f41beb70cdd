"""From a model in float and in integers to the problem that ``assignment`` solves."""

import dataclasses
from collections.abc import Mapping, Sequence

from edgecomp.budget.assignment import Form, Problem
from edgecomp.budget.noise import Key
from edgecomp.graph.constants import constant_array
from edgecomp.graph.labeling import Flow
from edgecomp.passes.choose_precision import PricedLayers
from edgecomp.passes.quantization_scope import Block, Scope, weight_channel_axis

#: Time of a layer in integers by that in float, where no target says better: four numbers of 8
#: bits stand where one of 32 does.
_INTEGER_TIME = 0.25
#: Bytes of a scale, of a zero point and of a bias, of one output channel.
_SCALE, _ZERO, _BIAS = 4, 1, 4
FLOAT, INTEGER = "fp32", "w8a8"


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a group costs in one precision.

    Attributes:
        bytes: of its constants as stored.
        seconds: of its kernels.
        is_static: whether it reads and gives integers of calibrated ranges.
    """

    bytes: float
    seconds: float
    is_static: bool = False


@dataclasses.dataclass(frozen=True)
class Group:
    """Layers that are decided together.

    Attributes:
        nodes: names of their nodes, as a recipe names them; the first names the group.
        float_bytes, integer_bytes: of their weights and biases as stored.
        float_seconds, integer_seconds: of their kernels.
        others: what it costs in further precisions (``budget.ladder``).
    """

    nodes: tuple[str, ...]
    float_bytes: float
    integer_bytes: float
    float_seconds: float
    integer_seconds: float
    others: Mapping[str, Cost] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """As a precision is assigned to it."""
        return self.nodes[0]


@dataclasses.dataclass(frozen=True)
class Groups:
    """All of them, and the rest of the model.

    Attributes:
        groups: in the order of flows' indices.
        flows: values between them.
        seconds: of everything else.
        timed: whether seconds are those of a target; else they only order the layers.
    """

    groups: tuple[Group, ...]
    flows: tuple[Flow, ...] = ()
    seconds: float = 0.0
    timed: bool = False

    def problem(
        self, noise: Mapping[Key, float], *, more_bytes: float = 0.0, slower: float = 1.0
    ) -> Problem:
        """The problem under what is known so far.

        Args:
            noise: of each group and precision; float adds none.
            more_bytes: that a model was found to have beside those of its layers.
            slower: what prices are multiplied by to be measured times.
        """
        layers = {
            group.name: {
                FLOAT: Form(0.0, group.float_bytes, group.float_seconds * slower),
                INTEGER: Form(
                    noise.get((group.name, INTEGER), 0.0),
                    group.integer_bytes,
                    group.integer_seconds * slower,
                    integer=True,
                ),
                **{
                    precision: Form(
                        noise.get((group.name, precision), 0.0),
                        cost.bytes,
                        cost.seconds * slower,
                        integer=cost.is_static,
                    )
                    for precision, cost in group.others.items()
                },
            }
            for group in self.groups
        }
        flows = [
            dataclasses.replace(
                flow, to_special=flow.to_special * slower, to_plain=flow.to_plain * slower
            )
            for flow in self.flows
        ]
        return Problem(layers, flows, more_bytes, self.seconds * slower)


def groups_by_target(priced: PricedLayers) -> Groups:
    """Groups as a target's kernels make them, with its prices."""
    groups = tuple(
        _group(blocks, price.plain, price.integer)
        for blocks, price in zip(priced.blocks, priced.prices, strict=True)
    )
    return Groups(groups, priced.flows, priced.seconds, timed=True)


def groups_of(scope: Scope, multiply_adds: Mapping[str, int]) -> Groups:
    """A group for each layer; its time is its multiply-adds.

    Args:
        scope: what may be integer.
        multiply_adds: by the node's name.
    """
    return Groups(
        tuple(
            _group([block], work, work * _INTEGER_TIME)
            for block in scope.blocks
            for work in [float(multiply_adds.get(block.node.name or "", 0))]
        )
    )


def _group(blocks: Sequence[Block], plain: float, integer: float) -> Group:
    sizes = [_bytes(block) for block in blocks]
    return Group(
        tuple(block.node.name or "" for block in blocks),
        float(sum(size for size, _ in sizes)),
        float(sum(size for _, size in sizes)),
        plain,
        integer,
    )


def _bytes(block: Block) -> tuple[int, int]:
    """Of a product's weights and bias, in float and in integers."""
    if not block.is_product:
        return 0, 0
    weight = constant_array(block.node.inputs[1])
    assert weight is not None
    channels = weight.shape[weight_channel_axis(block.node)]
    bias = _BIAS * channels if block.add is not None or len(block.node.inputs) > 2 else 0
    return 4 * weight.size + bias, weight.size + channels * (_SCALE + _ZERO) + bias
