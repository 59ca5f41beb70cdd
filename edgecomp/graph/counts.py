"""Dimensions whose size the data decides: which operators make them, and how large they may get.

    NonZero(mask [8, 8])   ->   [2, n], n counted when the model runs, at most 64

A model with such dimensions is read at one size of each, as one with dynamic dimensions of inputs
is. Shapes then are numbers like all others, and shape arithmetic is computed for inference. What
is computed from them is not put into the graph: the model stays right for any count. Nodes that
count are marked, and everything that depends on their results is left as it is.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import onnx
import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.bodies import bodies, captured_values
from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.source import source_of

#: Of a node that counts: name and bounds of the dimension, as JSON.
_NODE_KEY = "edgecomp.count"

#: Nodes in a row, and bytes of a constant, that two computations are compared by.
_MOST_DEPTH = 12
_MOST_BYTES = 1 << 10

#: A dimension that is the count, in the place of a number.
COUNT = -1


@dataclasses.dataclass(frozen=True)
class Counted:
    """A dimension of a node's results.

    Attributes:
        name: of the dimension.
        minimum, maximum: bounds, both included.
    """

    name: str
    minimum: int
    maximum: int


@dataclasses.dataclass(frozen=True)
class CountRequest:
    """How counted dimensions are read.

    Attributes:
        bounds: that the user gives: name of the dimension -> least and greatest size.
        sizes: at which the model is read, by the dimension's name; the largest where not given.
    """

    bounds: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class _Form:
    """Shapes of a node's results with ``COUNT`` among them.

    Attributes:
        shapes: of the results in order.
        most: the largest count there can be, None where the shapes do not say.
    """

    shapes: tuple[tuple[int, ...], ...]
    most: int | None


def counted_dimension(node: ir.Node) -> Counted | None:
    """The dimension that a node counts, None for other nodes."""
    text = node.metadata_props.get(_NODE_KEY)
    return Counted(*json.loads(text)) if text is not None else None


def counted_dimensions(model: ir.Model) -> list[Counted]:
    """Those of all nodes, in order."""
    found = [counted_dimension(node) for node in _all_nodes(model.graph)]
    return list(dict.fromkeys(each for each in found if each is not None))


def counted_values(model: ir.Model) -> dict[str, tuple[int, Counted]]:
    """Name of a value that a node counts -> its counted dimension, and what that is."""
    found = {}
    for node in model.graph:
        counted = counted_dimension(node)
        if counted is not None:
            value, _, d = counted.name.rpartition("_")
            names = [each.name for each in node.outputs]
            found[value if value in names else node.outputs[0].name or ""] = (int(d), counted)
    return found


def same_computation(node: ir.Node) -> tuple[object, ...]:
    """What a node computes: equal for nodes whose results are equal whatever the inputs.

    Exporters write one mask's NonZero again for each use; the counts of both are one dimension.
    """
    return _computation(node, _MOST_DEPTH)


def _computation(node: ir.Node, depth: int) -> tuple[object, ...]:
    attributes = [
        ir.serde.serialize_attribute(attribute).SerializeToString(deterministic=True)
        for _, attribute in sorted(node.attributes.items())
    ]
    inputs = [_contents(value, depth - 1) for value in node.inputs]
    return (node.domain, node.op_type, *attributes, *inputs)


def _contents(value: ir.Value | None, depth: int) -> object:
    array = constant_array(value)
    if array is not None and array.nbytes <= _MOST_BYTES:
        return array.dtype.name, array.shape, array.tobytes()
    node = value.producer() if value is not None else None
    if value is None or node is None or not depth or bodies(node) or "Random" in node.op_type:
        return id(value)
    return (node.outputs.index(value), *_computation(node, depth))


def is_counting(node: ir.Node) -> bool:
    """Whether a node counts a dimension of its results."""
    return _NODE_KEY in node.metadata_props


def empty_results(node: ir.Node) -> list[AnyArray] | None:
    """Results of a node whose count is always 0: of a tensor without elements, or a limit of 0."""
    form = _form(node)
    if form is None or form.most != 0:
        return None
    return [
        np.zeros(
            [0 if extent == COUNT else extent for extent in shape],
            np.int64 if value.dtype is None else value.dtype.numpy(),  # without a name: unused
        )
        for value, shape in zip(node.outputs, form.shapes, strict=False)
    ]


def _form(node: ir.Node) -> _Form | None:
    rule = _FORMS.get(node.op_type) if node.domain == "" else None
    form = rule(node) if rule is not None else None
    if node.op_type in _WHERE_OPEN and static_shape(node.outputs[0]) is not None:
        return None
    return form


def count_node(node: ir.Node, request: CountRequest) -> bool:
    """Give the results of a node that counts their shapes; returns whether it is one.

    Raises:
        EdgecompError: USAGE for bounds of the user that contradict the model.
    """
    form = _form(node)
    if form is None:
        return False
    counted = _counted(node, form, request.bounds)
    if counted is None:
        return False
    node.metadata_props[_NODE_KEY] = json.dumps(dataclasses.astuple(counted))
    size = request.sizes.get(counted.name, counted.maximum)
    for value, shape in zip(node.outputs, form.shapes, strict=False):
        if not value.name:
            continue
        value.shape = ir.Shape([size if extent == COUNT else extent for extent in shape])
    return True


def _counted(
    node: ir.Node, form: _Form, bounds: Mapping[str, tuple[int, int]]
) -> Counted | None:
    value, d = next(
        (value, shape.index(COUNT))
        for value, shape in zip(node.outputs, form.shapes, strict=False)
        if COUNT in shape and value.name
    )
    name = f"{value.name}_{d}"
    if name not in bounds:
        return Counted(name, 0, form.most) if form.most is not None else None
    low, high = bounds[name]
    if form.most is not None and low > form.most:
        raise EdgecompError(
            Code.USAGE,
            f"dimension '{name}' is never more than {form.most}, --bound asks for {low} or more",
            node=node.name or "",
            source=source_of(node),
        )
    return Counted(name, low, high if form.most is None else min(high, form.most))


class OpenValues:
    """Values that depend on a count, found node by node in topological order."""

    def __init__(self) -> None:
        self._values: set[ir.Value] = set()

    def __contains__(self, value: ir.Value | None) -> bool:
        return value in self._values

    @property
    def names(self) -> frozenset[str]:
        """Of the values found so far."""
        return frozenset(value.name for value in self._values if value.name)

    def add(self, values: Iterable[ir.Value]) -> None:
        """Say that values depend on a count."""
        self._values.update(values)

    def reads(self, node: ir.Node) -> bool:
        """Whether a node reads one, a graph inside of it included."""
        if not self._values:
            return False
        inner = (value for body in bodies(node) for value in captured_values(body))
        return any(value in self._values for value in (*node.inputs, *inner))


def open_values(model: ir.Model) -> OpenValues:
    """All values of a model that depend on a count.

    A pass must not put what it computes from their shapes into the model: these are the shapes of
    one reading.
    """
    found = OpenValues()
    for node in model.graph:
        inner = [each for body in bodies(node) for each in _all_nodes(body)]
        if found.reads(node) or any(is_counting(each) for each in (node, *inner)):
            found.add(node.outputs)
            found.add(value for each in inner for value in each.outputs)
    return found


def open_names(model: ir.Model) -> frozenset[str]:
    """Names of all values that depend on a count."""
    return open_values(model).names


def without_counted_sizes(proto: onnx.ModelProto, names: frozenset[str]) -> onnx.ModelProto:
    """A file's model without the sizes at which it was read.

    Args:
        proto: changed in place, returned for convenience.
        names: of values that depend on a count.
    """
    if names:
        _forget_sizes(proto.graph, names)
    return proto


def _forget_sizes(graph: onnx.GraphProto, names: frozenset[str]) -> None:
    kept = [value for value in graph.value_info if value.name not in names]
    graph.ClearField("value_info")
    graph.value_info.extend(kept)
    for value in graph.output:
        if value.name in names:
            for dim in value.type.tensor_type.shape.dim:
                dim.Clear()
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _forget_sizes(attribute.g, names)


def _all_nodes(graph: ir.Graph) -> Iterable[ir.Node]:
    return ir.traversal.RecursiveGraphIterator(graph)


def _non_zero(node: ir.Node) -> _Form | None:
    shape = static_shape(node.inputs[0])
    if shape is None:
        return None
    # A scalar counts as a list of one.
    return _Form(((max(len(shape), 1), COUNT),), math.prod(shape))


def _non_max_suppression(node: ir.Node) -> _Form | None:
    scores = static_shape(node.inputs[1])
    if scores is None:
        return None
    batch, classes, boxes = scores
    return _Form(((COUNT, 3),), batch * classes * class_boxes(node, boxes))


def class_boxes(node: ir.Node, boxes: int) -> int:
    """Most boxes that a NonMaxSuppression selects of one class."""
    limit = node.inputs[2] if len(node.inputs) > len(("boxes", "scores")) else None
    if limit is None:
        return 0  # what ONNX says of a limit that is not given
    array = constant_array(limit)
    return boxes if array is None else max(0, min(boxes, int(array.reshape(-1)[0])))


def _unique(node: ir.Node) -> _Form | None:
    shape = static_shape(node.inputs[0])
    if shape is None:
        return None
    if "axis" in node.attributes:
        axis = node.attributes.get_int("axis", 0) % len(shape)
        size, distinct = shape[axis], (*shape[:axis], COUNT, *shape[axis + 1 :])
    else:
        size, distinct = math.prod(shape), (COUNT,)
    return _Form((distinct, (COUNT,), (size,), (COUNT,)), size)


def _top_k(node: ir.Node) -> _Form | None:
    """Where K is known only when the model runs."""
    shape = static_shape(node.inputs[0])
    if shape is None or len(node.inputs) < len(("X", "K")):
        return None
    axis = node.attributes.get_int("axis", -1) % len(shape)
    found = (*shape[:axis], COUNT, *shape[axis + 1 :])
    return _Form((found, found), shape[axis])


def _range(_: ir.Node) -> _Form:
    return _Form(((COUNT,),), None)


def _slice(node: ir.Node) -> _Form | None:
    """Along one axis, between two indices of which one is known only when the model runs."""
    shape, axis = static_shape(node.inputs[0]), sliced_axis(node)
    if shape is None or axis is None:
        return None
    return _Form(((*shape[:axis], COUNT, *shape[axis + 1 :]),), shape[axis])


def sliced_axis(node: ir.Node) -> int | None:
    """The axis of a Slice along one alone whose step is known, else None."""
    shape, starts = static_shape(node.inputs[0]), node.inputs[1]
    extra = [node.inputs[k] if k < len(node.inputs) else None for k in (3, 4)]
    axes, steps = (constant_array(value) for value in extra)
    unknown = any(
        v is not None and a is None for v, a in zip(extra, (axes, steps), strict=True)
    )
    if unknown or not shape or static_shape(starts) != (1,):
        return None
    return int(axes[0]) % len(shape) if axes is not None else 0


#: Operators that count only where inference does not know the size.
_WHERE_OPEN = frozenset({"Range", "Slice", "TopK"})

_FORMS: dict[str, Callable[[ir.Node], _Form | None]] = {
    "NonMaxSuppression": _non_max_suppression,
    "NonZero": _non_zero,
    "Range": _range,
    "Slice": _slice,
    "TopK": _top_k,
    "Unique": _unique,
}
