"""Remove channels that carry nothing: those whose weights are all zero.

    Conv (8 -> 16, 6 outputs zero) -> Relu -> Conv (16 -> 32)
        =>   Conv (8 -> 10) -> Relu -> Conv (10 -> 32)

A channel runs through the graph: residual adds join it with others, depthwise convolutions,
normalisations, pools and activations hand it on, Concat and Flatten shift and spread it. All
places that must go together form a group. A group can go when at every product that reads it

* the weights that read it are all zero, or
* it is one constant there (a zero weight row leaves the bias, activations map it on), and that
  constant is folded into the reader's bias: exactly where the reader does not pad, and for a
  constant of 0 always.

Anything else that reads a channel (graph outputs, LayerNorm and Softmax over channels, reshapes
that split them, operators not known here) holds its group. One channel of every value stays.
Infinite values are not considered: 0 times a computed value counts as 0.
"""

from collections import defaultdict
from collections.abc import Callable

import onnx_ir as ir

from edgecomp.graph.constants import AnyArray
from edgecomp.graph.edit import remove_unused
from edgecomp.graph.match import RENAMES
from edgecomp.graph.shapes import static_shape
from edgecomp.passes.channels import rules_elementwise as elementwise
from edgecomp.passes.channels import rules_moves as moves
from edgecomp.passes.channels import rules_products as products
from edgecomp.passes.channels import rules_reductions as reductions
from edgecomp.passes.channels.state import Kept, State
from edgecomp.passes.outcome import Numerics, Outcome, Refusal, finish, refuse

#: A rule says how channels go through a node; False where it cannot, which holds its inputs.
Rule = Callable[[ir.Node, State], bool]

_RULES: dict[str, Rule] = {
    "Conv": products.visit_convolution,
    "ConvTranspose": products.visit_transposed_convolution,
    "Gemm": products.visit_matrix_product,
    "MatMul": products.visit_matrix_product,
    "BatchNormalization": elementwise.visit_batch_normalization,
    "InstanceNormalization": elementwise.visit_instance_normalization,
    "Concat": moves.visit_concat,
    "Split": moves.visit_split,
    "Slice": moves.visit_slice,
    "Gather": moves.visit_gather,
    "Transpose": moves.visit_transpose,
    "Reshape": moves.visit_reshape,
    "Flatten": moves.visit_reshape,
    "Squeeze": moves.visit_reshape,
    "Unsqueeze": moves.visit_reshape,
    "Expand": moves.visit_expand,
    "Pad": moves.visit_pad,
    "Resize": moves.visit_resize,
    "MaxPool": reductions.visit_pool,
    "AveragePool": reductions.visit_pool,
    "LpPool": reductions.visit_pool,
    "Softmax": reductions.visit_softmax,
    "LogSoftmax": reductions.visit_softmax,
    **dict.fromkeys(elementwise.UNARY, elementwise.visit_unary),
    **dict.fromkeys(elementwise.BINARY, elementwise.visit_binary),
    **dict.fromkeys(reductions.REDUCTIONS, reductions.visit_reduction),
    **dict.fromkeys(reductions.GLOBAL_POOLS, reductions.visit_global_pool),
}


_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


class StripPrunedChannelsPass(ir.passes.InPlacePass):
    """Remove channels that are all zero, or say what holds them.

    Scope: main graph (values that subgraphs read stay whole).
    Numerics: float-reassociated.

    Args:
        multiple: channels of a value are kept up to a multiple of this (of its own number if
            that is smaller): 31 channels take as long as 32 where vectors hold 8.
    """

    numerics = Numerics.REASSOCIATED

    def __init__(self, multiple: int = 1) -> None:
        self.multiple = multiple

    def call(self, model: ir.Model) -> Outcome:
        """Analyse, solve, rewrite, until nothing goes: a stripped layer frees what it read."""
        before = {
            node.name: extent
            for node in model.graph
            if (extent := _channels_of(node)) is not None
        }
        total = 0
        while True:
            state = analyse(model.graph)
            dropped = _solve(state, self.multiple)
            if not dropped:
                break
            total += len(dropped)
            _apply(state, Kept(state, dropped))
            remove_unused(model)
        notes = [
            f"{node.name}: {before[node.name] - extent} of {before[node.name]} channels stripped"
            for node in model.graph
            if (extent := _channels_of(node)) is not None
            and extent < before.get(node.name, extent)
        ]
        return finish(type(self).__name__, model, total, _held(state), notes)


def _channels_of(node: ir.Node) -> int | None:
    """Output channels of a product."""
    if node.op_type not in _PRODUCTS or node.domain != "":
        return None
    shape = static_shape(node.outputs[0])
    if not shape:
        return None
    return shape[-1] if node.op_type in ("Gemm", "MatMul") else shape[1]


def analyse(graph: ir.Graph) -> State:
    """Walk the graph in order and collect channels, groups and pins."""
    state = State()
    for node in graph:
        rule = _RULES.get(node.op_type) if node.domain == "" else None
        if rule is not None and rule(node, state):
            continue
        for value in node.inputs:
            state.pin_value(value, node, _reason(node))
    for value in graph.outputs:
        state.pin_value(value, value.producer(), "it is an output of the model")
    for inner in graph.subgraphs():
        for node in inner:
            for value in node.inputs:
                state.pin_value(value, node, "a subgraph reads it")
    return state


def _reason(node: ir.Node) -> str:
    if node.op_type in RENAMES:
        return f"{node.op_type} splits or reorders the channels"
    if node.op_type in (
        "LayerNormalization",
        "Softmax",
        "LogSoftmax",
    ) or node.op_type.startswith("Reduce"):
        return f"{node.op_type} runs over the channels"
    return f"{node.op_type} needs all channels"


def _solve(state: State, multiple: int) -> set[int]:
    """Roots of the groups to drop: nothing pins them, and no value becomes empty."""
    held = {state.root(element) for element in state.pins}
    dropped = {
        int(root)
        for _, ids, _ in state.seeds
        for root in state.roots(ids)
        if int(root) not in held
    }
    # Keeping more is always right, so this only ever takes groups out again.
    whole = [state.roots(ids) for ids in state.nonempty]
    stable = False
    while not stable:
        returned = {root for roots in whole for root in _to_return(roots, dropped, multiple)}
        dropped -= returned
        stable = not returned
    return dropped


def _to_return(roots: AnyArray, dropped: set[int], multiple: int) -> list[int]:
    """Groups to keep after all, so that a value has a multiple of channels and at least one."""
    gone = [root for root in roots.tolist() if root in dropped]
    kept = len(roots) - len(gone)
    wanted = min(max(-(-kept // multiple), 1) * multiple, len(roots))
    return gone[: wanted - kept]


def _held(state: State) -> list[Refusal]:
    """What holds the channels that are all zero and still there, per producer and reason."""
    refusals: list[Refusal] = []
    pins = {state.root(element): pin for element, pin in reversed(state.pins.items())}
    for node, ids, zeros in state.seeds:
        reasons: dict[str, int] = defaultdict(int)
        for root in state.roots(ids[zeros]).tolist():
            pin = pins.get(root)
            if pin is None:
                reasons["they fill up a vector, or a value would be empty"] += 1
                continue
            at = f" (at {pin.node.name})" if pin.node is not None else ""
            reasons[f"{pin.reason}{at}"] += 1
        for reason, count in reasons.items():
            refusals.append(refuse(node, f"{count} zero channels stay: {reason}"))
    return refusals


def _apply(state: State, kept: Kept) -> None:
    """Rewrite nodes, then the shapes of values."""
    masks = {value: kept.of(value) for value in state.channels}
    for apply in state.applies:
        apply(kept)
    for value, mask in masks.items():
        if mask is None or value.shape is None:
            continue
        dims = list(value.shape)
        dims[state.channels[value].axis] = int(mask.sum())
        value.shape = ir.Shape(dims)
