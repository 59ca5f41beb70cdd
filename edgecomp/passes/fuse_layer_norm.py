"""Recognise layer normalisation written in parts.

    d = x - ReduceMean(x);  y = d / Sqrt(ReduceMean(d * d) + epsilon) * scale + bias
        =>   LayerNormalization(x, scale, bias)

over the last dimensions, the square as Pow or Mul, the division as Div or as Mul by a Reciprocal,
with or without scale and bias. Refused: means over other axes; a scale or bias that is not a
constant of the normalized shape stays an operator behind.
"""

import dataclasses

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, new_initializer
from edgecomp.graph.edit import only_reader, remove_unused, replace_node
from edgecomp.graph.match import (
    is_operator,
    producer,
    reduced_axes,
    split_constant,
    squared,
    with_scalar,
)
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.source import copy_source
from edgecomp.passes.outcome import Numerics, Outcome, Refusal, finish, refuse


@dataclasses.dataclass(frozen=True)
class _Core:
    """x, first normalized axis and epsilon of the part before scale and bias."""

    x: ir.Value
    axis: int
    epsilon: float


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
    difference, root = divided
    shifted = with_scalar(producer(root.inputs[0], "Add"), "Add")
    centred = _match_centred(difference)
    if shifted is None or centred is None:
        return None
    x, axes = centred
    variance = producer(shifted[0], "ReduceMean")
    if variance is None or _mean_axes(variance) != axes:
        return None
    deviation = squared(variance.inputs[0])
    if deviation is None or _match_centred(deviation) != centred:
        return None
    rank = len(static_shape(x) or ())
    last = axes == list(range(rank - len(axes), rank))
    return _Core(x, axes[0] if last else -1, shifted[1])


def _divided(node: ir.Node) -> tuple[ir.Value, ir.Node] | None:
    """Numerator and Sqrt node of d / Sqrt(..) or d * Reciprocal(Sqrt(..))."""
    first, second = node.inputs[0], node.inputs[1]
    if is_operator(node, "Div"):
        root = producer(second, "Sqrt")
        return None if root is None or first is None else (first, root)
    for one, other in ((first, second), (second, first)):
        inverse = producer(other, "Reciprocal")
        root = producer(inverse.inputs[0], "Sqrt") if inverse is not None else None
        if root is not None and one is not None:
            return one, root
    return None


def _match_centred(value: ir.Value) -> tuple[ir.Value, list[int]] | None:
    """Find x and the axes of ``x - ReduceMean(x)``."""
    node = producer(value, "Sub")
    if node is None or node.inputs[0] is None:
        return None
    mean = producer(node.inputs[1], "ReduceMean")
    if mean is None or mean.inputs[0] is not node.inputs[0]:
        return None
    axes = _mean_axes(mean)
    return None if axes is None else (node.inputs[0], axes)


def _mean_axes(node: ir.Node) -> list[int] | None:
    """Axes of a ReduceMean that keeps its dimensions, from the front."""
    return reduced_axes(node) if node.attributes.get_int("keepdims", 1) else None


def _fuse(node: ir.Node, core: _Core) -> None:
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    shape = static_shape(core.x)
    assert shape is not None
    inner = shape[core.axis :]
    root = node
    scale = _constant_behind(root, "Mul", inner)
    if scale is not None:
        root = scale[0]
    bias = _constant_behind(root, "Add", inner)
    if bias is not None:
        root = bias[0]
    dtype = core.x.dtype
    assert dtype is not None
    name = root.outputs[0].name
    ones = np.ones(inner, dtype.numpy())
    inputs = [core.x, new_initializer(graph, f"{name}_scale", scale[1] if scale else ones)]
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
    leading = array.shape[: max(0, array.ndim - len(inner))]
    if any(extent != 1 for extent in leading):
        return None
    try:
        return reader, np.broadcast_to(array.reshape(array.shape[len(leading) :]), inner)
    except ValueError:
        return None
