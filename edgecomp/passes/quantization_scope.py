"""Decide what of a float model is computed in integers, and which values are stored in few bits.

A product with constant weights is always worth it, and so is one of two values (attention) that is
long enough. Any other operator joins only where it lies
between integers: something it reads comes from an integer operator and something that reads it
is one. So a residual stream between float normalisations stays float, and the sums of a
convolutional network do not. The parts of a normalisation stay float
wherever they lie.

    product -> function -> product                            =>   the function is a table of 8 bits
            (x)         -> float operator (a residual sum)         it is computed in float, from the
                                                                   product's own sums

Where a float operator reads what a function makes of a product's result, 8 bits of x and 8 bits of the
result would be all that a residual stream is made of. The product's sums are float numbers before they
are stored, so that the function takes these; what an integer operator reads of it is stored as before.
"""

import dataclasses
from collections.abc import Callable, Collection, Sequence

import numpy as np
import onnx_ir as ir

from edgecomp.graph.arguments import product_with_argument
from edgecomp.graph.constants import constant_array, is_constant, is_one_row
from edgecomp.graph.edit import only_reader
from edgecomp.graph.integer import EXACT_BITS
from edgecomp.graph.integer_rules import (
    BINARY,
    FUNCTIONS,
    MAXIMUMS,
    MOVES,
    PRODUCTS,
    integer_refusal,
    is_function,
)
from edgecomp.graph.match import clip_bounds
from edgecomp.graph.qdq_products import following_bias
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.unary import variable_input
from edgecomp.passes.normalisation_parts import normalisation_parts
from edgecomp.passes.outcome import Refusal, refuse
from edgecomp.passes.quantization_options import (
    KNOWN_TYPES,
    InsertQdqOptions,
    ValueProducts,
    exclusion,
    is_excluded,
)

#: Why a value's range cannot be used, "" where it can.
RangeRefusal = Callable[[ir.Value], str]

_MATRIX_RANK = 2
#: Of scores: a scale, a mask, positions.
_BEFORE_SOFTMAX = (*BINARY, "Div", "Where")
_LARGEST_SUM = 2**31 - 1
_BYTE_BITS = 8
#: Elements of K of a product of two values: where there are fewer it is no work, and often exact
#: numbers (positions times frequencies); more are not sure to be exact in float32.
_VALUE_DEPTHS = range(16, 2**EXACT_BITS // (255 * 128) + 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """A float operator with what is computed together with it.

    Attributes:
        node: the operator.
        add: Add of a MatMul's constant bias, or None.
        activation: Relu or Clip whose bounds become bounds of the stored result, or None.
        inputs: values that are stored in 8 bits, as indices of the node's inputs.
        outputs: results, after the activation.
        gate: function of the value that the node multiplies its result by, or None: a function
            of one value in two operators, of which only the second one's result is stored.
    """

    node: ir.Node
    add: ir.Node | None
    activation: ir.Node | None
    inputs: tuple[int, ...]
    outputs: tuple[ir.Value, ...]
    gate: ir.Node | None = None

    @property
    def input_values(self) -> tuple[ir.Value, ...]:
        """The values behind ``inputs``."""
        return tuple(v for i in self.inputs if (v := self.node.inputs[i]) is not None)

    @property
    def nodes(self) -> tuple[ir.Node, ...]:
        """All that the block is computed from."""
        found = (self.gate, self.node, self.add, self.activation)
        return tuple(n for n in found if n is not None)

    @property
    def reads(self) -> tuple[tuple[ir.Node, int], ...]:
        """Where it reads stored values: nodes and indices of their inputs."""
        own = tuple((self.node, index) for index in self.inputs)
        if self.gate is None:
            return own
        return ((self.gate, list(self.gate.inputs).index(self.input_values[0])), *own)

    @property
    def functions(self) -> tuple[ir.Node, ...]:
        """The operator, behind its gate."""
        return (self.node,) if self.gate is None else (self.gate, self.node)

    @property
    def is_product(self) -> bool:
        """Whether it multiplies with constant weights."""
        return self.node.op_type in PRODUCTS and not self.is_value_product

    @property
    def is_value_product(self) -> bool:
        """Whether it multiplies two values."""
        return self.node.op_type == "MatMul" and len(self.inputs) > 1

    @property
    def may_stay_float(self) -> bool:
        """Whether its result may, where no integer operator reads it."""
        return self.node.op_type in PRODUCTS

    @property
    def shares_scale(self) -> bool:
        """Whether both sides have the same scale, so that stored numbers stay as they are."""
        return self.node.op_type in (*MOVES, *MAXIMUMS, "Concat")


@dataclasses.dataclass(frozen=True)
class Scope:
    """The decision.

    Attributes:
        blocks: integer blocks in execution order.
        stored: float values that are stored in 8 bits, constants among them, in order.
        refusals: operators with an integer form that stay float, with the reason.
    """

    blocks: tuple[Block, ...]
    stored: tuple[ir.Value, ...]
    refusals: tuple[Refusal, ...]


def decide_scope(
    graph: ir.Graph, options: InsertQdqOptions, range_refusal: RangeRefusal
) -> Scope:
    """Choose the integer blocks of a topologically sorted float graph."""
    refusals: dict[ir.Node, str] = {}
    found = _find_blocks(graph, options, refusals)
    # First by structure: ranges were only observed where they are needed.
    blocks = _between_integers(found, options, lambda _: "", refusals)
    blocks = _usable_blocks(blocks, range_refusal, refusals)
    blocks = _between_integers(blocks, options, range_refusal, refusals)
    _, stored = _choose(blocks, options, range_refusal)
    reasons = tuple(refuse(node, reason) for node, reason in refusals.items())
    return Scope(tuple(blocks), tuple(stored), reasons)


def values_to_observe(graph: ir.Graph, options: InsertQdqOptions) -> list[str]:
    """Names of the variable values whose ranges decide the scales."""
    scope = decide_scope(graph, options, lambda _: "")
    follows = {v for block in scope.blocks if block.shares_scale for v in block.outputs}
    return [v.name or "" for v in scope.stored if not is_constant(v) and v not in follows]


def _find_blocks(
    graph: ir.Graph, options: InsertQdqOptions, refusals: dict[ir.Node, str]
) -> list[Block]:
    """Every block that could be integer by its own structure."""
    taken: set[ir.Node] = set()
    gates: dict[ir.Node, ir.Node] = {}
    parts = normalisation_parts(graph)
    blocks = []
    for node in graph:
        if node in taken or node.domain != "" or node.op_type not in KNOWN_TYPES:
            continue
        if not _reads_float(node):
            continue
        reason = _node_refusal(node, options)
        if node in parts:
            reason = reason or "it is part of a normalisation, whose squares need more digits"
        if reason:
            refusals[node] = reason
            continue
        product = product_with_argument(node) if is_function(node) else None
        if product is not None and product not in parts and _takes_gate(product, options):
            gates[product] = node
            continue
        block = _block_of(node, options, gates.get(node))
        taken.update(n for n in (block.add, block.activation) if n is not None)
        blocks.append(block)
    return blocks


def _takes_gate(product: ir.Node, options: InsertQdqOptions) -> bool:
    """Whether a product may be one function with its gate: no table has 65536 entries."""
    return not (_node_refusal(product, options) or options.is_wide(product))


def _reads_float(node: ir.Node) -> bool:
    value = node.inputs[0] if node.inputs else None
    return value is not None and value.dtype == ir.DataType.FLOAT and not _all_constant(node)


def _all_constant(node: ir.Node) -> bool:
    return all(value is None or is_constant(value) for value in node.inputs)


def _node_refusal(node: ir.Node, options: InsertQdqOptions) -> str:
    reason = exclusion(node, options) or integer_refusal(node) or options.wide_refusal(node)
    if reason or node.op_type not in PRODUCTS:
        return reason
    return _product_refusal(node, options)


def _product_refusal(node: ir.Node, options: InsertQdqOptions) -> str:
    if is_constant(node.inputs[0]):
        return "its first operand is constant"
    if _has_two_values(node):
        return _value_product_refusal(node, options)
    weight = constant_array(node.inputs[1])
    if weight is None:
        return "its weights are not constant"
    if node.op_type == "MatMul" and weight.ndim != _MATRIX_RANK:
        return "its weights are not a matrix"
    if weight.dtype != np.float32 or not np.isfinite(weight).all():
        return "its weights are not finite float32 numbers"
    bias = constant_array(node.inputs[2]) if _has_input(node, 2) else None
    if _has_input(node, 2) and bias is None:
        return "its bias is not constant"
    channel_axis = weight_channel_axis(node)
    channels = weight.shape[channel_axis]
    if bias is not None and not (is_one_row(bias.shape, channels) and np.isfinite(bias).all()):
        return "its bias is not one finite number per channel"
    if options.is_wide(node) or options.weight_bits(node) > _BYTE_BITS:
        return ""  # parts of the weights hold any sum (graph/weight_parts.py)
    products = weight.size // max(1, channels)
    if products * 255 * 127 > _LARGEST_SUM:
        return f"a sum of {products} products could overflow int32"
    return ""


def _has_two_values(node: ir.Node) -> bool:
    """Whether a product's second operand is no constant either."""
    return node.op_type == "MatMul" and not is_constant(node.inputs[1])


def _value_product_refusal(node: ir.Node, options: InsertQdqOptions) -> str:
    if options.value_products is ValueProducts.NONE:
        return "products of two values have no integer kernel on the target"
    reason = _own_refusal(node, options)
    if reason or options.value_products is not ValueProducts.WHOLE:
        return reason
    other = _other_of_attention(node)
    if other is None or not (exclusion(other, options) or _own_refusal(other, options)):
        return ""
    return (
        "the other product of its attention stays float, and the target has kernels for both"
    )


def _own_refusal(node: ir.Node, options: InsertQdqOptions) -> str:
    """Why a product of two values stays float, whatever is around it."""
    if options.is_wide(node):
        return "products of two 16-bit values are computed in float32"
    depth = options.value_depths.get(node.name or "", _depth(node))
    if depth in _VALUE_DEPTHS:
        return ""
    few = depth < _VALUE_DEPTHS.start
    problem = "too few to gain" if few else "too many to be exact in float32"
    return f"its sums of {depth} products of two values are {problem}"


def _other_of_attention(node: ir.Node) -> ir.Node | None:
    """The other one of the products on both sides of a softmax."""
    found = _product_behind_softmax(node)
    if found is not None:
        return found
    graph = node.graph
    assert graph is not None
    own = [n for n in graph if n.op_type == "MatMul" and _product_behind_softmax(n) is node]
    return own[0] if len(own) == 1 else None


def _product_behind_softmax(node: ir.Node) -> ir.Node | None:
    """What reads a product's scores, behind elementwise operators and a softmax."""
    reader = only_reader(node.outputs[0])
    while reader is not None and reader.op_type in _BEFORE_SOFTMAX:
        reader = only_reader(reader.outputs[0])
    if reader is None or reader.op_type != "Softmax":
        return None
    weights = reader.outputs[0]
    product = only_reader(weights)
    if product is None or not _has_two_values(product) or product.inputs[0] is not weights:
        return None
    return product


def _depth(product: ir.Node) -> int:
    shape = static_shape(product.inputs[0])
    assert shape is not None
    return shape[-1]


def value_depths(graph: ir.Graph) -> dict[str, int]:
    """K of every product of two values, by name."""
    return {
        node.name or "": _depth(node)
        for node in graph
        if node.domain == "" and _has_two_values(node) and not is_constant(node.inputs[0])
    }


def weight_channel_axis(node: ir.Node) -> int:
    """Dimension of a product's weights that holds the output channels."""
    if node.op_type == "Conv":
        return 0
    return 0 if node.attributes.get_int("transB", 0) != 0 else 1


def _has_input(node: ir.Node, index: int) -> bool:
    return len(node.inputs) > index and node.inputs[index] is not None


def _block_of(node: ir.Node, options: InsertQdqOptions, gate: ir.Node | None) -> Block:
    add = None
    if node.op_type == "MatMul" and not _has_two_values(node):
        channels = constant_array(node.inputs[1])
        assert channels is not None
        add, _ = following_bias(node, channels.shape[1])
        if add is not None and is_excluded(add, options):
            add = None
    outputs = (add or node).outputs
    activation = None
    if node.op_type not in (*MOVES, *MAXIMUMS, "Concat"):
        reader = only_reader(outputs[0])
        if reader is not None and _is_activation(reader, node, options):
            activation, outputs = reader, reader.outputs
    inputs = _stored_inputs(node) if gate is None else _inputs_beside(gate, node)
    return Block(node, add, activation, inputs, tuple(outputs), gate)


def _is_activation(reader: ir.Node, node: ir.Node, options: InsertQdqOptions) -> bool:
    in_graph = reader.graph is node.graph
    return in_graph and clip_bounds(reader) is not None and not is_excluded(reader, options)


def _stored_inputs(node: ir.Node) -> tuple[int, ...]:
    if node.op_type == "Concat":
        return tuple(range(len(node.inputs)))
    if node.op_type in (*BINARY, *FUNCTIONS) and is_function(node):
        return (list(node.inputs).index(variable_input(node)),)
    return (0, 1) if node.op_type in BINARY or _has_two_values(node) else (0,)


def _inputs_beside(gate: ir.Node, product: ir.Node) -> tuple[int, ...]:
    return tuple(i for i, v in enumerate(product.inputs) if v is not gate.outputs[0])


def _usable_blocks(
    blocks: Sequence[Block], range_refusal: RangeRefusal, refusals: dict[ir.Node, str]
) -> list[Block]:
    """Blocks whose inputs can be stored, and whose outputs can unless they may stay float.

    Where both sides share a scale the ranges of the results are not needed.
    """
    usable: list[Block] = []
    follows: set[ir.Value] = set()
    broken: set[ir.Value] = set()
    for block in blocks:
        reasons = [
            "its input follows one without a usable range" if v in broken else range_refusal(v)
            for v in block.input_values
            if v not in follows
        ]
        if not block.shares_scale and not block.may_stay_float:
            reasons += [range_refusal(v) for v in block.outputs]
        reason = next((r for r in reasons if r), "")
        if reason:
            refusals.update(dict.fromkeys(block.functions, reason))
            broken.update(block.outputs if block.shares_scale else ())
            continue
        usable.append(block)
        if block.shares_scale:
            follows.update(block.outputs)
    return usable


def _between_integers(
    blocks: Sequence[Block],
    options: InsertQdqOptions,
    range_refusal: RangeRefusal,
    refusals: dict[ir.Node, str],
) -> list[Block]:
    """The blocks that are chosen; notes why the others are not."""
    integer, _ = _choose(blocks, options, range_refusal)
    places = {place for block in integer for place in block.reads}
    behind = _functions_of_products(blocks)
    for block in blocks:
        if block not in integer:
            reason = "no integer operator lies on both sides of it"
            if block in behind and _is_read_at(block.outputs, places):
                # Integers lie on both sides of it: only another reader left it out.
                reason = "something else reads its result in float"
            refusals.update(dict.fromkeys(block.functions, reason))
    return [block for block in blocks if block in integer]


def _choose(
    blocks: Sequence[Block], options: InsertQdqOptions, range_refusal: RangeRefusal
) -> tuple[set[Block], dict[ir.Value, None]]:
    """The integer blocks and the values they store."""
    between = _blocks_after_integers(blocks)
    behind = _functions_of_products(blocks)
    integer: set[Block] = set()
    wanted: set[ir.Value] = set()
    places: set[tuple[ir.Node, int]] = set()
    for block in reversed(blocks):
        kept = options.quantize_outputs and any(v.is_graph_output() for v in block.outputs)
        read = kept or any(v in wanted for v in block.outputs)
        if block in behind and not kept and _is_read_elsewhere(block.outputs, places):
            continue
        if block.may_stay_float or (block in between and read):
            integer.add(block)
            places.update(block.reads)
            wanted.update(block.input_values)
            if kept or not block.may_stay_float:
                wanted.update(v for v in block.outputs if v.uses() or v.is_graph_output())
    stored: dict[ir.Value, None] = {}
    for block in (b for b in blocks if b in integer):
        stored.update(dict.fromkeys(block.input_values))
        stored.update(
            dict.fromkeys(
                v
                for v in block.outputs
                if v in wanted and not (block.may_stay_float and range_refusal(v))
            )
        )
    return integer, stored


def _functions_of_products(blocks: Sequence[Block]) -> set[Block]:
    """Functions that alone read a product's result, which need not be stored for them."""
    made = {v for block in blocks if block.may_stay_float for v in block.outputs}
    return {
        block
        for block in blocks
        if (block.gate is not None or is_function(block.node))
        and block.input_values[0] in made
        and not _is_read_elsewhere(block.input_values, block.reads)
    }


def _is_read_at(values: Sequence[ir.Value], places: Collection[tuple[ir.Node, int]]) -> bool:
    """Whether any of the values is read in one of the places."""
    return any((use.node, use.idx) in places for v in values for use in v.uses())


def _is_read_elsewhere(
    values: Sequence[ir.Value], places: Collection[tuple[ir.Node, int]]
) -> bool:
    """Whether any of the values is a result of the graph, or read in another place."""
    return any(
        v.is_graph_output() or any((use.node, use.idx) not in places for use in v.uses())
        for v in values
    )


def _blocks_after_integers(blocks: Sequence[Block]) -> set[Block]:
    """Blocks that read something an integer operator made.

    Where a block only moves values, storing them before the move (a graph input) counts too.
    """
    made: set[ir.Value] = set()
    movable: set[ir.Value] = set()
    result: set[Block] = set()
    for block in blocks:
        inputs = block.input_values
        if block.may_stay_float or any(v in made for v in inputs):
            result.add(block)
            made.update(block.outputs)
        elif block.shares_scale and any(v in movable or v.is_graph_input() for v in inputs):
            result.add(block)
            movable.update(block.outputs)
    return result
