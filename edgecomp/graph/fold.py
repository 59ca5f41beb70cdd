"""Forward sweep: infer shapes, fold what is constant, take decided branches, expand definitions.

One sweep in topological order is enough: when a node is reached, everything it reads has its
final shape, so shape arithmetic (Shape, Gather, Concat, Reshape ...) turns into constants on
the way.
"""

import dataclasses
import logging

import numpy as np
import onnx_ir as ir

from edgecomp.graph.bodies import is_control_flow, name_inner_values
from edgecomp.graph.constants import (
    AnyArray,
    constant_array,
    constant_tensor,
    new_initializer,
)
from edgecomp.graph.control_flow import settle
from edgecomp.graph.counts import (
    CountRequest,
    OpenValues,
    count_node,
    counted_dimensions,
    empty_results,
    is_counting,
    same_computation,
)
from edgecomp.graph.edit import remove_unused, replace_node, replace_value
from edgecomp.graph.evaluate import evaluate_node
from edgecomp.graph.expand import expand_node
from edgecomp.graph.inline import inline_graph
from edgecomp.graph.int4_casts import is_int4_weight
from edgecomp.graph.names import unused_name
from edgecomp.graph.narrow_weights import is_narrow_weight
from edgecomp.graph.sequences import replace_sequence_reader
from edgecomp.graph.shapes import infer_node, static_shape

logger = logging.getLogger(__name__)

# Folding must not make the file much bigger: results beyond this stay computed, unless they
# are no larger than the constants they are made from.
_FREE_BYTES = 1 << 20

_RANDOM = frozenset(
    {
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Multinomial",
        "Bernoulli",
    }
)
# Folding a quantized weight's DequantizeLinear would undo the quantization.
_KEPT = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})

# Defined by operators that count, whatever they read.
_COUNTING = frozenset({"Compress"})


@dataclasses.dataclass
class FoldResult:
    """What a sweep changed.

    Attributes:
        folded: nodes replaced by constants.
        branches: If nodes replaced by the branch their constant condition takes, loops by their
            rounds.
        inferred: values whose type or shape became better known.
        expanded: nodes replaced by their definition, readers of sequences by tensors.
    """

    folded: int = 0
    branches: int = 0
    inferred: int = 0
    expanded: int = 0


@dataclasses.dataclass
class _Sweep:
    """State of a sweep.

    Attributes:
        model: swept.
        result: what changed.
        open: values that depend on a count, which only the data decides: they are not folded.
        known: their contents at the sizes of this reading, for inference.
        counting: nodes that count, by what they compute.
        settle: whether nothing is open: what depends on a count is that of this reading.
        counts: sizes of dimensions that only the data decides, in the first sweep alone.
        sized: whether the sizes of inputs were chosen that the model leaves free.
    """

    model: ir.Model
    result: FoldResult
    settle: bool = False
    counts: CountRequest | None = None
    sized: bool = False
    open: OpenValues = dataclasses.field(default_factory=OpenValues)
    known: dict[ir.Value, AnyArray] = dataclasses.field(default_factory=dict)
    counting: dict[object, ir.Node] = dataclasses.field(default_factory=dict)

    def binds(self, value: ir.Value) -> bool:
        """Whether a declared shape has to be the true one.

        Exporters write into files what values inside were in their example, which is not what
        they are at another size; a model's outputs are what it promises, but again at the sizes
        of the example where inputs are free. What passes of this package wrote is true.
        Results of bodies are inside, too.
        """
        promised = not self.sized and any(value is each for each in self.model.graph.outputs)
        return self.counts is None or promised


def settled(model: ir.Model) -> ir.Model:
    """The model at the counts of this reading alone: itself, or a folded copy."""
    if not counted_dimensions(model):
        return model
    copy = model.clone()
    # Where only the size of a result is asked for, that is a number now, but still counted.
    outputs = copy.graph.outputs
    counted = [
        next(value for value in node.outputs if value.name)
        for node in copy.graph
        if is_counting(node)
    ]
    kept = [value for value in counted if value not in outputs]
    outputs.extend(kept)
    infer_and_fold(copy, settle=True)
    for value in kept:
        outputs.remove(value)
    return copy


def infer_and_fold(
    model: ir.Model,
    *,
    counts: CountRequest | None = None,
    settle: bool = False,
    sized: bool = False,
) -> FoldResult:
    """Sweep the graph once, then drop what is no longer read.

    Scope: main graph and the bodies of its control flow; the branch of an If with a constant
    condition and the rounds of a short loop become part of what is around them. What depends on
    a count (``graph/counts.py``) stays computed, unless ``settle`` is set.
    With ``counts``, which the first sweep of a model gets, counted dimensions get their sizes,
    and operators overrule the shapes that the file has of their results: inside the model, and of
    its outputs where ``sized`` says that sizes were chosen for free dimensions of inputs.
    Numerics: exact (onnx's reference evaluator computes what is folded).

    Raises:
        EdgecompError: SHAPE_CONFLICT, see ``infer_node``.
    """
    result = FoldResult()
    _sweep(model.graph, _Sweep(model, result, settle, counts, sized))
    if result.folded or result.branches or result.expanded:
        remove_unused(model)
    name_inner_values(model.graph)
    return result


def _sweep(graph: ir.Graph, sweep: _Sweep) -> None:
    graph.opset_imports.update(sweep.model.opset_imports)
    for node in list(graph):
        _visit(node, sweep)


def _visit(node: ir.Node, sweep: _Sweep) -> None:
    model, result = sweep.model, sweep.result
    is_open = not sweep.settle and sweep.open.reads(node)
    if node.op_type == "If" and node.domain == "":
        taken = constant_array(node.inputs[0])
        if taken is not None:
            result.branches += 1
            branch = "then_branch" if taken.reshape(-1)[0] else "else_branch"
            for inner in inline_graph(node, node.attributes[branch].as_graph()):
                _visit(inner, sweep)
            return
    if is_open and sweep.counts is not None:
        for value in node.outputs:
            value.shape = None  # files may say what it was when they were made
    if is_control_flow(node):
        rounds = settle(node, lambda graph: _sweep(graph, sweep), sweep.binds)
        if rounds is not None:
            result.branches += 1
            for inner in rounds:
                _visit(inner, sweep)
        elif is_open:
            sweep.open.add(node.outputs)
        return
    if node.op_type == "CastLike" and node.domain == "":
        node = _as_cast(node)
    if node.op_type == "Range" and node.domain == "":
        _make_scalars(node)
    arrays = None
    if node.op_type == "Constant" and node.domain == "":
        array = constant_array(node.outputs[0])
        arrays = None if array is None else [array]
    else:
        result.inferred += infer_node(
            node, model.opset_imports, sweep.known, binds=sweep.binds
        )
        if is_open and node.op_type not in _COUNTING:
            _visit_open(node, sweep)
            return
        definition = replace_sequence_reader(node)
        is_sequence = definition is not None
        if definition is None:
            definition = expand_node(node, model.opset_imports)
        if definition is not None:
            result.expanded += 1
            for inner in definition:
                _visit(inner, sweep)
            for inner in () if is_sequence else definition:
                _bypass_identity(inner)
            return
        arrays = _evaluate(node, model)
        if arrays is None:
            arrays = empty_results(node)
            for value, array in zip(node.outputs, arrays or (), strict=False):
                value.shape = ir.Shape(array.shape)
    # An output stays the result of a node: Identity of a constant is folded as far as it goes.
    is_output = any(value.is_graph_output() for value in node.outputs)
    if arrays is None or (is_output and node.op_type in ("Identity", "Constant")):
        if arrays is None and not sweep.settle and _counts(node, sweep):
            sweep.open.add(node.outputs)
            _join_counts(node, sweep)
        return
    _replace_by_constants(node, arrays)
    result.folded += 1


def _counts(node: ir.Node, sweep: _Sweep) -> bool:
    """Whether a node counts a dimension; in the first sweep it gets its size."""
    if sweep.counts is not None and node.graph is sweep.model.graph:
        return is_counting(node) or count_node(node, sweep.counts)
    return is_counting(node)


def _join_counts(node: ir.Node, sweep: _Sweep) -> None:
    """Let readers of a second node that counts the same read the first."""
    if sweep.counts is None or any(value.is_graph_output() for value in node.outputs):
        return
    first = sweep.counting.setdefault(same_computation(node), node)
    if first is not node:
        assert isinstance(node.graph, ir.Graph)
        for value, other in zip(node.outputs, first.outputs, strict=True):
            replace_value(value, other)
        node.graph.remove(node, safe=True)


def _visit_open(node: ir.Node, sweep: _Sweep) -> None:
    """A node whose results depend on a count: contents are computed, but put nowhere."""
    sweep.open.add(node.outputs)
    if _counts(node, sweep):
        _join_counts(node, sweep)
        return
    if node.domain != "" or node.op_type in _RANDOM | _KEPT:
        return
    if node.op_type in ("Shape", "Size"):
        arrays = _evaluate_shape(node)
    else:
        inputs = [sweep.known.get(v, constant_array(v)) if v else None for v in node.inputs]
        missing = any(a is None and v for a, v in zip(inputs, node.inputs, strict=True))
        if missing or _result_bytes(node) > _FREE_BYTES or not any(v for v in node.inputs):
            return
        arrays = evaluate_node(node, inputs, sweep.model.opset_imports)
    for value, array in zip(node.outputs, arrays or (), strict=False):
        sweep.known[value] = array


def _bypass_identity(node: ir.Node) -> None:
    """Let readers of an Identity in a definition read what it copies, where a node computes it.

    Between quantized operators it would stand in the way of what belongs together.
    """
    if node.op_type != "Identity" or node.domain != "" or node.graph is None:
        return
    source = node.inputs[0]
    if source is None or source.producer() is None or source.is_graph_output():
        return
    replace_value(node.outputs[0], source)
    if not node.outputs[0].uses() and not node.outputs[0].is_graph_output():
        node.graph.remove(node, safe=True)


def _evaluate(node: ir.Node, model: ir.Model) -> list[AnyArray] | None:
    """Results of a node whose inputs are all known, None where it is not to be folded."""
    if node.domain != "" or node.op_type in _RANDOM or node.op_type in _KEPT:
        return None
    if node.op_type in ("Shape", "Size"):
        return _evaluate_shape(node)
    if node.op_type == "Cast" and (is_narrow_weight(node) or is_int4_weight(node)):
        return None
    if any(attribute.type == ir.AttributeType.GRAPH for attribute in node.attributes.values()):
        return None
    tensors = [constant_tensor(value) for value in node.inputs]
    if any(
        tensor is None and value is not None
        for tensor, value in zip(tensors, node.inputs, strict=True)
    ):
        return None
    given_bytes = sum(tensor.nbytes for tensor in tensors if tensor is not None)
    if _result_bytes(node) > max(given_bytes, _FREE_BYTES):
        logger.debug("%s not folded: the result is larger than its inputs", node.name)
        return None
    return _compute(node, model)


def _evaluate_shape(node: ir.Node) -> list[AnyArray] | None:
    shape = static_shape(node.inputs[0])
    if shape is None:
        return None
    if node.op_type == "Size":
        return [np.array(int(np.prod(shape)), np.int64)]
    start = node.attributes.get_int("start", 0)
    end = node.attributes.get_int("end", len(shape))
    return [np.array(shape[start:end], np.int64)]


def _as_cast(node: ir.Node) -> ir.Node:
    """CastLike reads its second input for the dtype only, which is known."""
    wanted = node.inputs[1]
    if wanted is None or wanted.dtype is None:
        return node
    cast = ir.node(
        "Cast", [node.inputs[0]], attributes={"to": wanted.dtype.value}, name=node.name
    )
    saturate = node.attributes.get("saturate")
    if saturate is not None:
        cast.attributes["saturate"] = saturate
    replace_node(node, cast)
    return cast


def _make_scalars(node: ir.Node) -> None:
    """Constants [1] of a Range lose their dimension: onnx's rules of inference refuse it.

    The definition of AffineGrid has such, and runtimes take them.
    """
    assert isinstance(node.graph, ir.Graph)
    for index, value in enumerate(node.inputs):
        array = constant_array(value)
        if array is not None and array.shape == (1,):
            assert value is not None
            scalar = new_initializer(node.graph, f"{value.name}_scalar", array.reshape(()))
            node.replace_input_with(index, scalar)


def _result_bytes(node: ir.Node) -> int:
    total = 0
    for value in node.outputs:
        shape = static_shape(value)
        if shape is None or value.dtype is None:
            continue
        total += (int(np.prod(shape)) * value.dtype.bitwidth + 7) // 8
    return total


def _compute(node: ir.Node, model: ir.Model) -> list[AnyArray] | None:
    """The node's results, None where they cannot be computed or have another dtype."""
    inputs = [constant_array(value) for value in node.inputs]
    arrays = evaluate_node(node, inputs, model.opset_imports)
    named = [value for value in node.outputs if value.name]
    if arrays is None or len(named) != len(node.outputs):
        return None
    for array, value in zip(arrays, named, strict=True):
        if value.dtype is not None and ir.DataType.from_numpy(array.dtype) != value.dtype:
            logger.debug("%s not folded: evaluated as %s", node.name, array.dtype)
            return None
    return arrays


def _replace_by_constants(node: ir.Node, arrays: list[AnyArray]) -> None:
    """Give each output's name to an initializer and remove the node."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    for old, array in zip(node.outputs, arrays, strict=True):
        if not old.uses() and not old.is_graph_output():
            continue
        name = old.name
        if old.is_graph_output():
            name = unused_name(graph, f"{name}_constant")
        else:
            old.name = None
        tensor = ir.Tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)
        value = ir.Value(
            name=name,
            shape=ir.Shape(array.shape),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        graph.register_initializer(value)
        replace_value(old, value)
    graph.remove(node, safe=True)
