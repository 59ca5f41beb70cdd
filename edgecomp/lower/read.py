"""ONNX model to program: every node through its family's reader, the rest to the fallback."""

import dataclasses
import logging
import math
from collections.abc import Callable, Collection, Mapping

import onnx_ir as ir

from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.binary_products import binary_products, only_inside
from edgecomp.graph.bodies import captured_values, is_control_flow, possible_bodies
from edgecomp.graph.constants import is_constant
from edgecomp.graph.dynamic_products import scaled_products
from edgecomp.graph.fold import settled
from edgecomp.graph.index_bounds import misplaced_index
from edgecomp.graph.integer_operators import IntegerOperator
from edgecomp.graph.qdq import recognize
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.source import source_of
from edgecomp.graph.verify import is_static
from edgecomp.lower.fallback import fallback_reason
from edgecomp.lower.operators import (
    binary,
    cast,
    control_flow,
    convolution,
    counting,
    cumulative,
    dynamic,
    elementwise,
    movement,
    normalization,
    padding,
    pooling,
    products,
    quantized,
    recurrent,
    resize,
    single_node,
)
from edgecomp.lower.reader import Reader
from edgecomp.lower.widen import is_half, narrow_outputs, wide_node
from edgecomp.plan.names import c_identifier
from edgecomp.plan.operations import Program

logger = logging.getLogger(__name__)

#: Operator type -> reader, one table per family.
TABLES: tuple[Mapping[str, Callable[[Reader, ir.Node], str]], ...] = (
    convolution.TABLE,
    pooling.TABLE,
    products.TABLE,
    elementwise.TABLE,
    cast.TABLE,
    movement.TABLE,
    padding.TABLE,
    normalization.TABLE,
    recurrent.TABLE,
    cumulative.TABLE,
    resize.TABLE,
    quantized.TABLE,
    dynamic.TABLE,
    counting.TABLE,
    control_flow.TABLE,
)


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A node that no schedule's operation can express.

    Attributes:
        node: name. operator: type. source: line of Python. reason: why the fallback has to run
            it, or why nothing can.
        possible: whether the fallback can run it.
    """

    node: str
    operator: str
    source: str
    reason: str
    possible: bool


def read_program(
    model: ir.Model,
    target: Target,
    name: str,
    *,
    is_dynamic: bool = False,
    value_products: Collection[str] | None = None,
) -> tuple[Program, list[Refusal]]:
    """Read a model.

    Args:
        model: static shapes.
        target: device.
        name: of the model.
        is_dynamic: whether some of the shapes differ from run to run.
        value_products: names of the products of two values that may be integers, None for all.

    Returns:
        The program, and the nodes that no schedule's operation can express. Those that are
        not ``possible`` either, such as those whose sizes depend on the data, are missing from
        the program.
    """
    refusals: list[Refusal] = []
    model = settled(model)

    def read_body(inner: Reader, graph: ir.Graph) -> None:
        for node in graph:
            if not _is_constant(node):
                refusals.extend(_read_node(inner, node))

    reader = Reader(c_identifier(name), target.activation_dtype, read_body)
    for value in model.graph.inputs:
        reader.program.inputs.append(reader.value(value))
    recognition = recognize(model.graph, value_products=value_products)
    products = scaled_products(model.graph)
    signs = {}
    if target.gpu is None and not is_dynamic:  # which compute signs as floats
        signs = {
            node: product
            for node, product in binary_products(model.graph).items()
            if node in recognition.steps and binary.is_possible(product)
        }
    only_signs = only_inside(signs)
    inside = {node: each for each in products.values() for node in (*each.nodes, each.unit)}
    for step in recognition.steps:
        if isinstance(step, IntegerOperator):
            quantized.emit_group(reader, step)
        elif step in signs:
            binary.emit_binary_product(reader, signs[step])
        elif step in only_signs:
            continue
        elif step in inside and dynamic.is_whole(inside[step]):
            if step in products:
                dynamic.emit_scaled_product(reader, products[step])
        elif step.op_type != "Constant" and not _is_constant(step):
            refusals += _read_node(reader, step)
    for value in model.graph.outputs:
        if not is_static(value):
            continue  # of a node that is among the refusals
        reader.program.outputs.append(reader.value(value))
        reader.program.output_names.append(value.name or "")
    return reader.program, refusals


def _read_node(reader: Reader, node: ir.Node) -> list[Refusal]:
    problem = _open_size(node) or misplaced_index(node)
    if problem:
        return [_refusal(node, problem, possible=False)]
    if _is_empty(node):
        return []  # nothing to compute
    read = find_reader(node)
    reason = read(reader, node) if read else "no schedule for this operator"
    if not reason:
        return []
    if is_half(node):
        wide = wide_node(reader, node)
        refusals = _read_node(reader, wide)
        if all(refusal.possible for refusal in refusals):
            narrow_outputs(reader, node, wide)
        return refusals
    impossible = reason if is_control_flow(node) else fallback_reason(node)
    if not impossible:
        logger.debug("%s (%s) goes to the fallback: %s", node.name, node.op_type, reason)
        single_node.read_single_node(reader, node)
    return [_refusal(node, impossible or reason, possible=not impossible)]


def _is_empty(node: ir.Node) -> bool:
    """Whether no result has elements. Strings are refused whatever their number.

    Makes no values: a result that is stored as 8 bits must not exist in another form first.
    """
    if any(value is not None and value.dtype == ir.DataType.STRING for value in node.inputs):
        return False
    return not any(math.prod(static_shape(v) or ()) for v in node.outputs if v.name)


def _refusal(node: ir.Node, reason: str, *, possible: bool) -> Refusal:
    name = node.name or node.op_type
    return Refusal(name, node.op_type, source_of(node), reason, possible)


def _open_size(node: ir.Node) -> str:
    """Why the sizes of a node are not known before the model runs, "" if they are."""
    captured = [value for body in possible_bodies(node) for value in captured_values(body)]
    for value in (*node.inputs, *captured):
        if value is not None and not is_static(value):
            return f"the size of '{value.name}' is not known before the model runs"
    if all(is_static(value) for value in node.outputs if value.name):
        return ""
    return "the size of its result is not known before the model runs"


def find_reader(node: ir.Node) -> Callable[[Reader, ir.Node], str] | None:
    """The reader of a node's operator type, None where no family has one."""
    if node.domain not in ("", "ai.onnx"):
        return None
    return next((table[node.op_type] for table in TABLES if node.op_type in table), None)


def require_possible(refusals: list[Refusal]) -> None:
    """Raise OPERATOR_UNSUPPORTED with every node that nothing can run, if there is one."""
    refusals = [refusal for refusal in refusals if not refusal.possible]
    if not refusals:
        return
    lines = [
        f"{r.operator} '{r.node}'{' at ' + r.source if r.source else ''}: {r.reason}"
        for r in refusals
    ]
    raise EdgecompError(
        Code.OPERATOR_UNSUPPORTED,
        "\n  ".join([f"{_count(refusals)} no implementation", *lines]),
        node=refusals[0].node,
        source=refusals[0].source,
        hint="run 'edgecomp check' for the whole model against all targets",
    )


def _count(refusals: list[Refusal]) -> str:
    return f"{len(refusals)} operator{'s have' if len(refusals) > 1 else ' has'}"


def _is_constant(node: ir.Node) -> bool:
    """Folded away already: every output carries its contents."""
    return all(is_constant(output) for output in node.outputs)
