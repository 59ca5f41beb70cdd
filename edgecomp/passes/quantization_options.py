"""What the user leaves to quantization: which nodes, and in how many bits."""

import dataclasses
import enum
import re
from collections.abc import Collection, Mapping

import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError, nearest_hint
from edgecomp.graph.integer_rules import (
    AVERAGES,
    BINARY,
    FUNCTIONS,
    MAXIMUMS,
    MOVES,
    PRODUCTS,
    is_function,
)
from edgecomp.graph.packed_weights import PackedWeights

#: Operators of which only the weights are stored in 8 bits, by a pass of their own.
RECURRENT = ("LSTM", "GRU", "RNN")
#: Operators that have an integer form.
KNOWN_TYPES = (*PRODUCTS, *BINARY, *AVERAGES, *MAXIMUMS, *MOVES, *FUNCTIONS, "Concat")


class ValueProducts(enum.Enum):
    """Which products of two values are quantized.

    Attributes:
        NONE: none.
        EACH: each that can be.
        WHOLE: each but one of an attention whose other product cannot be.
    """

    NONE = "none"
    EACH = "each"
    WHOLE = "whole"


@dataclasses.dataclass(frozen=True, kw_only=True)
class InsertQdqOptions:
    """What is quantized, and how.

    Attributes:
        nodes_to_exclude: names of nodes that stay float; ``re:`` and a regular expression that
            matches whole names.
        op_types_to_quantize: only these ONNX operators, () for all that have an integer form.
        per_channel: one weight scale per output channel.
        per_channel_except: names of products with the opposite.
        four_bits: names of products whose weights are stored in 4 bits, where they can be.
        grouped: 4-bit weights of products with scales of groups, by name, as they are stored.
        wide_weights: names of products whose weights are stored in 16 bits.
        wide_activations: names of nodes whose inputs are stored in 16 bits.
        headroom: what their ranges are multiplied by, within what activations allow. One bit of
            16 keeps what lies beyond the samples.
        value_products: which products of two values are quantized.
        value_depths: elements of K of such products by name, where a model with dynamic dimensions
            decides by those of its largest sizes; others by their own.
        quantize_outputs: graph outputs of integer operators become stored 8-bit numbers.
        stay_float: names of further nodes that stay float -> why.
    """

    nodes_to_exclude: tuple[str, ...] = ()
    op_types_to_quantize: tuple[str, ...] = ()
    per_channel: bool = True
    per_channel_except: frozenset[str] = frozenset()
    four_bits: frozenset[str] = frozenset()
    grouped: Mapping[str, PackedWeights] = dataclasses.field(default_factory=dict)
    wide_weights: frozenset[str] = frozenset()
    wide_activations: frozenset[str] = frozenset()
    headroom: float = 2.0
    value_products: ValueProducts = ValueProducts.EACH
    value_depths: Mapping[str, int] = dataclasses.field(default_factory=dict)
    quantize_outputs: bool = False
    stay_float: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def is_per_channel(self, node: ir.Node) -> bool:
        """Whether the weights of a product have one scale per output channel."""
        return self.per_channel is not (node.name in self.per_channel_except)

    def weight_bits(self, node: ir.Node) -> int:
        """Of the weights of a product: those of a depthwise convolution, which are few, have 8."""
        if node.name in self.wide_weights:
            return 16
        return 4 if node.name in self.four_bits and not is_depthwise(node) else 8

    def is_wide(self, node: ir.Node) -> bool:
        """Whether what a node reads is stored in 16 bits."""
        return node.name in self.wide_activations

    def wide_refusal(self, node: ir.Node) -> str:
        """Why a node that would read or write 16 bits stays float, "" where it does not."""
        if not self.is_wide(node):
            return ""
        if node.op_type == "AveragePool":
            return "averages over windows of 16-bit values have no integer form"
        if node.op_type in FUNCTIONS or (node.op_type in BINARY and is_function(node)):
            return "functions of 16-bit values are computed in float32"
        return ""


def _check_names(model: ir.Model, options: InsertQdqOptions) -> None:
    """Whether there are the nodes that the options exclude, in the main graph or a body in it.

    Raises:
        EdgecompError: USAGE.
    """
    names = {node.name or "" for node in ir.traversal.RecursiveGraphIterator(model.graph)}
    for name in options.nodes_to_exclude:
        pattern = _pattern(name)
        if pattern and not any(pattern.fullmatch(known) for known in names):
            raise EdgecompError(Code.USAGE, f"no node matches '{name}'")
        if not pattern and name not in names:
            raise EdgecompError(
                Code.USAGE, f"no node is named '{name}'", hint=nearest_hint(name, names)
            )


def check_options(
    model: ir.Model,
    options: InsertQdqOptions,
    known: Collection[str] = (*KNOWN_TYPES, *RECURRENT),
    problem: str = "has no integer form",
) -> None:
    """Whether there is what the options name: nodes, and types that something can be done to.

    Args:
        model: whose nodes they name.
        options: as the user gave them.
        known: the types.
        problem: what is wrong with an operator of another one.

    Raises:
        EdgecompError: USAGE.
    """
    _check_names(model, options)
    for operator in options.op_types_to_quantize:
        if operator not in known:
            raise EdgecompError(
                Code.USAGE,
                f"operator '{operator}' {problem}",
                hint=nearest_hint(operator, known),
            )


def _pattern(name: str) -> re.Pattern[str] | None:
    if not name.startswith("re:"):
        return None
    try:
        return re.compile(name[3:])
    except re.error as error:
        raise EdgecompError(
            Code.USAGE, f"'{name}' is not a regular expression: {error}"
        ) from error


def is_excluded(node: ir.Node, options: InsertQdqOptions) -> bool:
    """Whether the options leave a node float by its name."""
    name = node.name or ""
    if name in options.stay_float:
        return True
    for given in options.nodes_to_exclude:
        pattern = _pattern(given)
        if pattern.fullmatch(name) if pattern else given == name:
            return True
    return False


def exclusion(node: ir.Node, options: InsertQdqOptions) -> str:
    """Why the options leave a node as it is, by its name or type; "" where they do not."""
    if is_excluded(node, options):
        return options.stay_float.get(node.name or "", "it is excluded by name")
    if options.op_types_to_quantize and node.op_type not in options.op_types_to_quantize:
        return "its operator type is not among those to quantize"
    return ""


def is_depthwise(node: ir.Node) -> bool:
    """Whether each output channel of a Conv reads one of several input channels."""
    weight = node.inputs[1]
    if node.op_type != "Conv" or weight is None or weight.shape is None:
        return False
    return node.attributes.get_int("group", 1) > 1 and weight.shape[1] == 1
