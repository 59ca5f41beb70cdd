"""Recognise activations written in parts.

    Max(x, 0)                                   =>   Relu(x)
    Min(Max(x, a), b), Max(Min(x, b), a)        =>   Clip(x, a, b)
    Clip(x + 3, 0, 6) / 6, Clip(x / 6 + .5, 0, 1)   =>   HardSigmoid(x)
    x * Clip(x + 3, 0, 6) / 6, x * HardSigmoid(x)   =>   HardSwish(x)
    1 / (1 + Exp(-x))                           =>   Sigmoid(x)
    Log(1 + Exp(x))                             =>   Softplus(x)
    x * Tanh(Softplus(x))                       =>   Mish(x)
    Swish(x)                                    =>   x * Sigmoid(alpha x)

x * Sigmoid(x) itself stays: the standard has an operator for it only since opset 24, where it is
taken apart, so that later steps meet one form.
"""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import new_initializer, scalar
from edgecomp.graph.edit import new_node, only_reader, remove_unused, replace_node
from edgecomp.graph.match import clip_bounds, is_operator, near, producer, scaled, with_scalar
from edgecomp.passes.expressions import polynomial, product_roots
from edgecomp.passes.outcome import Numerics, Outcome, finish

_SIXTH = 1.0 / 6.0


class FuseActivationsPass(ir.passes.InPlacePass):
    """Replace the parts of an activation by one standard node.

    Scope: main graph.  Numerics: float-reassociated.
    """

    numerics = Numerics.REASSOCIATED

    def call(self, model: ir.Model) -> Outcome:
        """Try every rule at every node, in the order listed, until nothing changes."""
        applied = 0
        for rule in _RULES:
            for node in list(model.graph):
                if node.graph is not None and node.domain == "" and _is_float(node):
                    applied += rule(node)
        if applied:
            remove_unused(model)
        return finish(type(self).__name__, model, applied)


def _is_float(node: ir.Node) -> bool:
    dtype = node.outputs[0].dtype
    return dtype is not None and dtype.is_floating_point()


def _fuse_bounds(node: ir.Node) -> int:
    """Min over Max (either order) of numbers to Clip."""
    for outer, inner in (("Min", "Max"), ("Max", "Min")):
        found = with_scalar(node, outer)
        if found is None:
            continue
        bounded = with_scalar(producer(found[0], inner), inner)
        if bounded is None or only_reader(found[0]) is not node:
            continue
        low, high = sorted((found[1], bounded[1]))
        if (found[1] < bounded[1]) == (outer == "Min"):
            return 0  # the bounds cross: the result is one number
        return _replace(node, "Clip", bounded[0], bounds=(low, high))
    return 0


def _fuse_relu(node: ir.Node) -> int:
    found = with_scalar(node, "Max")
    if found is None or found[1] != 0.0:
        return 0
    return _replace(node, "Relu", found[0])


def _fuse_hard_swish(node: ir.Node) -> int:
    """Match x times a hard sigmoid of x, in whatever order the factor 1/6 comes."""
    if is_operator(node, "HardSigmoid"):
        inner, slope, offset, top = node.inputs[0], *_hard_sigmoid(node), 1.0
    else:
        line = _clipped_line(node)
        if line is None:
            return 0
        inner, slope, offset, top = line
    if not (near(slope / top, _SIXTH) and near(offset / top, 0.5)):
        return 0
    for root, x in product_roots(node.outputs[0], 1.0 / top):
        if x is inner:
            return _replace(root, "HardSwish", x)
    return 0


def _fuse_hard_sigmoid(node: ir.Node) -> int:
    """Clip(a x + b, 0, top) / top."""
    line = _clipped_line(node)
    if line is None:
        return 0
    x, slope, offset, top = line
    root = node
    if top != 1.0:
        reader = only_reader(node.outputs[0])
        step = scaled(reader)
        if reader is None or step is None or not near(step[1] * top, 1.0):
            return 0
        root = reader
    attributes = {"alpha": slope / top, "beta": offset / top}
    return _replace(root, "HardSigmoid", x, attributes=attributes)


def _clipped_line(node: ir.Node) -> tuple[ir.Value, float, float, float] | None:
    """x, slope, offset, top of Clip(slope * x + offset, 0, top); slope is not 0 and top finite."""
    bounds = clip_bounds(node) if is_operator(node, "Clip") else None
    if bounds is None or bounds[0] != 0.0 or not 0.0 < bounds[1] < float("inf"):
        return None
    shift = producer(node.inputs[0], "Add")
    found = with_scalar(shift, "Add")
    if shift is None or found is None or only_reader(shift.outputs[0]) is not node:
        return None
    x, offset = found
    step = scaled(x.producer())
    if step is not None and only_reader(x) is shift:
        return step[0], step[1], offset, bounds[1]
    return x, 1.0, offset, bounds[1]


def _hard_sigmoid(node: ir.Node) -> tuple[float, float]:
    attributes = node.attributes
    return attributes.get_float("alpha", 0.2), attributes.get_float("beta", 0.5)


def _fuse_sigmoid(node: ir.Node) -> int:
    """1 / (1 + Exp(-x)), with Div or Reciprocal."""
    if is_operator(node, "Reciprocal"):
        below = node.inputs[0]
    elif is_operator(node, "Div") and scalar(node.inputs[0]) == 1.0:
        below = node.inputs[1]
    else:
        return 0
    found = with_scalar(producer(below, "Add"), "Add")
    if found is None or found[1] != 1.0:
        return 0
    power = producer(found[0], "Exp")
    negated = power.inputs[0] if power is not None else None
    if negated is None:
        return 0
    inner = producer(negated, "Neg", "Mul")
    for x in inner.inputs if inner is not None else []:
        coefficients = polynomial(negated, x) if x is not None else None
        if coefficients is not None and coefficients.tolist() == [0.0, -1.0]:
            return _replace(node, "Sigmoid", x)
    return 0


def _fuse_softplus(node: ir.Node) -> int:
    if not is_operator(node, "Log"):
        return 0
    found = with_scalar(producer(node.inputs[0], "Add"), "Add")
    power = producer(found[0], "Exp") if found is not None and found[1] == 1.0 else None
    return 0 if power is None else _replace(node, "Softplus", power.inputs[0])


def _fuse_mish(node: ir.Node) -> int:
    softplus = producer(node.inputs[0], "Softplus") if is_operator(node, "Tanh") else None
    if softplus is None:
        return 0
    for root, x in product_roots(node.outputs[0], 1.0):
        if x is softplus.inputs[0]:
            return _replace(root, "Mish", x)
    return 0


def _split_swish(node: ir.Node) -> int:
    if not is_operator(node, "Swish"):
        return 0
    graph, x = node.graph, node.inputs[0]
    assert isinstance(graph, ir.Graph)
    assert x is not None
    assert x.dtype is not None
    alpha, inner = node.attributes.get_float("alpha", 1.0), x
    if alpha != 1.0:
        factor = new_initializer(graph, f"{x.name}_alpha", np.array(alpha, x.dtype.numpy()))
        scale = new_node(graph, "Mul", [x, factor], like=node)
        scale.name = f"{node.name}_scale"
        node.prepend(scale)
        inner = scale.outputs[0]
    gate = new_node(graph, "Sigmoid", [inner], like=node)
    gate.name = f"{node.name}_sigmoid"
    node.prepend(gate)
    replace_node(node, ir.node("Mul", [x, gate.outputs[0]], name=node.name))
    return 1


def _replace(
    root: ir.Node,
    operator: str,
    x: ir.Value | None,
    *,
    attributes: dict[str, float] | None = None,
    bounds: tuple[float, float] | None = None,
) -> int:
    """Put ``operator(x)`` in the root's place; returns 1."""
    graph = root.graph
    assert isinstance(graph, ir.Graph)
    assert x is not None
    assert x.dtype is not None
    inputs = [x]
    for name, bound in zip(("low", "high"), bounds or (), strict=False):
        array = np.array(bound, x.dtype.numpy())
        inputs.append(new_initializer(graph, f"{root.outputs[0].name}_{name}", array))
    replace_node(root, ir.node(operator, inputs, attributes=attributes, name=root.name))
    return 1


# Bounds first: the hard activations are made of Clips. HardSwish before HardSigmoid, so that the
# shared Clip goes into the bigger pattern; once more after it, for products with a HardSigmoid.
_RULES: tuple[Callable[[ir.Node], int], ...] = (
    _split_swish,
    _fuse_bounds,
    _fuse_relu,
    _fuse_hard_swish,
    _fuse_hard_sigmoid,
    _fuse_hard_swish,
    _fuse_sigmoid,
    _fuse_softplus,
    _fuse_mish,
)
