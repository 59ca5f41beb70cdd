"""Recognise layer normalisation written in parts.

    d = x - ReduceMean(x);  y = d / Sqrt(ReduceMean(d * d) + epsilon) * scale + bias
        =>   LayerNormalization(x, scale, bias)

over the last dimensions, the square as Pow or Mul, the division as Div or as Mul by a Reciprocal
(which flax scales first: ``d * (Reciprocal(..) * scale)``), means that lose their dimensions and get
them back by a Reshape, with or without scale and bias. Refused: means over other axes; a scale or bias that is not a
constant of the normalized shape stays an operator behind.
"""

import dataclasses

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, new_initializer
from edgecomp.graph.edit import only_reader, remove_unused, replace_node
from edgecomp.graph.match import (
    is_operator,
    kept_reduction,
    producer,
    split_constant,
    squared,
    with_scalar,
)
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.source import copy_source
from edgecomp.passes.outcome import Numerics, Outcome, Refusal, finish, refuse


@dataclasses.dataclass(frozen=True)
class _Core:
    """x, first normalized axis and epsilon of the part before scale and bias.

    ``scale`` is that of the reciprocal, None where it has none.
    """

    x: ir.Value
    axis: int
    epsilon: float
    scale: AnyArray | None


@dataclasses.dataclass(frozen=True)
class _Division:
    """A numerator, the Sqrt that it is divided by, and what its reciprocal is multiplied by."""

    numerator: ir.Value
    root: ir.Node
    scale: AnyArray | None = None


class FuseLayerNormPass(ir.passes.InPlacePass):
    """Replace the parts of a layer normalisation by LayerNormalization.

    Scope: main graph.  Numerics: float-reassociated.
    """

    numerics = Numerics.REASSOCIATED

    def requires(self, model: ir.Model) -> None:
        """LayerNormalization is in the standard since opset 17."""
        if model.opset_imports.get("", 0) < 17:
            raise ir.passes.PreconditionError("FuseLayerNormPass needs opset >= 17")

    def call(self, model: ir.Model) -> Outcome:
        """Fuse behind every Sqrt of a mean."""
        applied = 0
        refusals: list[Refusal] = []
        for node in list(model.graph):
            if node.graph is None or not is_operator(node, "Div", "Mul"):
                continue
            core = _match_core(node)
            if core is None:
                continue
            if core.axis < 0:
                refusals.append(refuse(node, "the mean is not over the last dimensions"))
                continue
            _fuse(node, core)
            applied += 1
        if applied:
            remove_unused(model)
        return finish(type(self).__name__, model, applied, refusals)


def _match_core(node: ir.Node) -> _Core | None:
    """The core whose result ``node`` is; axis -1 where the axes are not the last ones."""
    divided = _divided(node)
    if divided is None:
        return None
    shifted = with_scalar(producer(divided.root.inputs[0], "Add"), "Add")
    centred = _match_centred(divided.numerator)
    if shifted is None or centred is None:
        return None
    x, axes = centred
    variance = kept_reduction(shifted[0], "ReduceMean")
    if variance is None or variance[1] != axes:
        return None
    deviation = squared(variance[0])
    if deviation is None or _match_centred(deviation) != centred:
        return None
    shape = static_shape(x) or ()
    last = axes == list(range(len(shape) - len(axes), len(shape)))
    if not last:
        return _Core(x, -1, shifted[1], None)
    scale = None
    if divided.scale is not None:
        scale = _spread(divided.scale, shape[axes[0] :])
        if scale is None or static_shape(node.outputs[0]) != shape:
            return None
    return _Core(x, axes[0], shifted[1], scale)


def _divided(node: ir.Node) -> _Division | None:
    """What ``d / Sqrt(..)``, ``d * Reciprocal(Sqrt(..))`` or ``d * (Reciprocal(..) * c)`` is."""
    first, second = node.inputs[0], node.inputs[1]
    if is_operator(node, "Div"):
        root = producer(second, "Sqrt")
        return None if root is None or first is None else _Division(first, root)
    for one, other in ((first, second), (second, first)):
        scale = None
        scaling = producer(other, "Mul")
        factors = split_constant(scaling) if scaling is not None else None
        if factors is not None:
            other, scale, _ = factors
        inverse = producer(other, "Reciprocal")
        root = producer(inverse.inputs[0], "Sqrt") if inverse is not None else None
        if root is not None and one is not None:
            return _Division(one, root, scale)
    return None


def _match_centred(value: ir.Value) -> tuple[ir.Value, list[int]] | None:
    """Find x and the axes of ``x - ReduceMean(x)``."""
    node = producer(value, "Sub")
    if node is None or node.inputs[0] is None:
        return None
    mean = kept_reduction(node.inputs[1], "ReduceMean")
    return mean if mean is not None and mean[0] is node.inputs[0] else None


def _fuse(node: ir.Node, core: _Core) -> None:
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    shape = static_shape(core.x)
    assert shape is not None
    inner = shape[core.axis :]
    root, scale = node, core.scale
    if scale is None:
        behind = _constant_behind(root, "Mul", inner)
        if behind is not None:
            root, scale = behind
    bias = _constant_behind(root, "Add", inner)
    if bias is not None:
        root = bias[0]
    dtype = core.x.dtype
    assert dtype is not None
    name = root.outputs[0].name
    if scale is None:
        scale = np.ones(inner, dtype.numpy())
    inputs = [core.x, new_initializer(graph, f"{name}_scale", scale)]
    if bias is not None:
        inputs.append(new_initializer(graph, f"{name}_bias", bias[1]))
    fused = ir.node(
        "LayerNormalization",
        inputs,
        attributes={"axis": core.axis, "epsilon": core.epsilon},
        name=root.name,
    )
    copy_source([node, root], fused)
    replace_node(root, fused)


def _constant_behind(
    node: ir.Node, operator: str, inner: tuple[int, ...]
) -> tuple[ir.Node, AnyArray] | None:
    """The operator behind a node and its constant, broadcast to the normalized shape."""
    reader = only_reader(node.outputs[0])
    if reader is None or not is_operator(reader, operator):
        return None
    found = split_constant(reader)
    if found is None:
        return None
    array = found[1]
    if static_shape(reader.outputs[0]) != static_shape(node.outputs[0]):
        return None
    spread = _spread(array, inner)
    return None if spread is None else (reader, spread)


def _spread(array: AnyArray, inner: tuple[int, ...]) -> AnyArray | None:
    """A constant broadcast to the normalized shape, None where it varies beyond that."""
    leading = array.shape[: max(0, array.ndim - len(inner))]
    if any(extent != 1 for extent in leading):
        return None
    try:
        return np.broadcast_to(array.reshape(array.shape[len(leading) :]), inner)
    except ValueError:
        return None
