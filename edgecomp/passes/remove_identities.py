"""Remove nodes that hand their input on unchanged.

    x -> Identity | Dropout | Cast to the same dtype | Reshape to the same shape -> y   =>   x -> y

Also: Transpose that moves no element, Slice of everything, Pad by nothing, Expand to the same
shape, Concat and Split with one side, Resize by 1, pools of one element, reductions over extents
of 1, and arithmetic with the neutral constant (x + 0, x - 0, x * 1, x / 1, x ** 1, the maximum
with -infinity, the minimum with infinity) where it does not broadcast x.

Where shapes depend on a count, which only the data decides, equal shapes say nothing: only what
hands on its input whatever its shape is removed there.

A node stays where it joins a graph input directly to a graph output: both names must exist.
"""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import constant_array
from edgecomp.graph.counts import is_counting, open_values
from edgecomp.graph.edit import remove_unused, replace_value
from edgecomp.graph.match import clip_bounds
from edgecomp.graph.shapes import static_shape
from edgecomp.passes.outcome import Numerics, Outcome, finish

_SAME_WHEN_SHAPE_IS = frozenset(
    {
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Expand",
        "Slice",
        "Concat",
        "Split",
        "Tile",
    }
)
_SAME_WHEN_ALONE = frozenset({"Sum", "Max", "Min", "Mean"})
_REDUCTIONS = frozenset({"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"})
_GLOBAL_POOLS = frozenset({"GlobalAveragePool", "GlobalMaxPool"})
# (operator, index of the constant operand) -> neutral constant.
_NEUTRAL = {
    ("Add", 0): 0,
    ("Add", 1): 0,
    ("Sub", 1): 0,
    ("Mul", 0): 1,
    ("Mul", 1): 1,
    ("Div", 1): 1,
    ("Pow", 1): 1,
    ("Max", 0): -np.inf,
    ("Max", 1): -np.inf,
    ("Min", 0): np.inf,
    ("Min", 1): np.inf,
}

# Those that hand on a single input of any shape.
_ANY_SHAPE = frozenset({"Identity", "Dropout", "Cast", "Clip"}) | _SAME_WHEN_ALONE


class RemoveIdentitiesPass(ir.passes.InPlacePass):
    """Remove nodes that change neither shape, dtype nor any element.

    Scope: main graph.  Numerics: exact.
    """

    numerics = Numerics.EXACT

    def call(self, model: ir.Model) -> Outcome:
        """Remove them."""
        removed, open_ones = 0, open_values(model)
        for node in list(model.graph):
            is_open = open_ones.reads(node) or is_counting(node)
            if is_open and not _keeps_any_shape(node):
                continue
            kept = same_value(node)
            if kept is None or _joins_input_to_output(kept, node):
                continue
            replace_value(node.outputs[0], kept)
            model.graph.remove(node, safe=True)
            removed += 1
        if removed:
            remove_unused(model)
        return finish(type(self).__name__, model, removed)


def _keeps_any_shape(node: ir.Node) -> bool:
    """Whether what is handed on would be handed on in any other shape too."""
    alone = node.op_type not in _SAME_WHEN_ALONE or len(node.inputs) == 1
    return node.op_type in _ANY_SHAPE and alone


def same_value(node: ir.Node) -> ir.Value | None:
    """The input that equals the node's first output, None where there is none."""
    if node.domain != "" or not node.inputs or any(value.uses() for value in node.outputs[1:]):
        return None
    if any(value.is_graph_output() for value in node.outputs[1:]):
        return None
    for index in (0, 1):
        if index < len(node.inputs) and _hands_on(node, index):
            return node.inputs[index]
    return None


def _hands_on(node: ir.Node, index: int) -> bool:
    value = node.inputs[index]
    if value is None or constant_array(value) is not None:
        return False
    operator = node.op_type
    neutral = _NEUTRAL.get((operator, 1 - index))
    if neutral is not None and len(node.inputs) == 2:
        return _is_neutral(node, index, neutral)
    if index != 0:
        return False
    if operator == "Identity":
        return True
    if operator == "Dropout":
        return _is_inference_dropout(node)
    if not _same_type_and_shape(value, node.outputs[0]):
        return False
    return _elements_stay(node, value)


def _elements_stay(node: ir.Node, value: ir.Value) -> bool:
    """Whether a node with equal input and output shape leaves every element in place."""
    operator = node.op_type
    shape = static_shape(value) or ()
    if operator == "Slice":
        return all(step > 0 for step in _slice_steps(node))
    if operator in _SAME_WHEN_SHAPE_IS or operator == "Cast":
        return True
    if operator in _SAME_WHEN_ALONE:
        return len(node.inputs) == 1
    if operator == "Transpose":
        return _moves_nothing(node, shape)
    if operator == "Pad":
        pads = constant_array(node.inputs[1])
        return pads is not None and not pads.any()
    if operator == "Clip":
        return clip_bounds(node) == (-np.inf, np.inf)
    if operator in _REDUCTIONS or operator in _GLOBAL_POOLS:
        # Equal shapes: every reduced extent is 1.
        return len(shape) > 0
    if operator in ("MaxPool", "AveragePool"):
        window = node.attributes["kernel_shape"].as_ints()
        padded = any(node.attributes.get_ints("pads", []))
        return all(extent == 1 for extent in window) and not padded
    if operator == "Resize":
        mode = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
        return mode not in ("tf_crop_and_resize", "align_corners")
    return False


def _is_neutral(node: ir.Node, index: int, neutral: float) -> bool:
    value, result = node.inputs[index], node.outputs[0]
    array = constant_array(node.inputs[1 - index])
    if array is None or value is None or not _same_type_and_shape(value, result):
        return False
    return bool((array == neutral).all())


def _is_inference_dropout(node: ir.Node) -> bool:
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return True
    training = constant_array(node.inputs[2])
    return training is not None and not training.any()


def _moves_nothing(node: ir.Node, shape: tuple[int, ...]) -> bool:
    """Whether the dimensions larger than 1 keep their order and places."""
    default = list(reversed(range(len(shape))))
    order = [axis for axis in node.attributes.get_ints("perm", default) if shape[axis] != 1]
    return list(order) == sorted(order)


def _slice_steps(node: ir.Node) -> list[int]:
    if len(node.inputs) < 5 or node.inputs[4] is None:
        return [1]
    steps = constant_array(node.inputs[4])
    return [-1] if steps is None else [int(step) for step in steps.reshape(-1)]


def _same_type_and_shape(value: ir.Value, result: ir.Value) -> bool:
    one, other = static_shape(value), static_shape(result)
    return one is not None and one == other and value.dtype == result.dtype


def _joins_input_to_output(kept: ir.Value, node: ir.Node) -> bool:
    if not node.outputs[0].is_graph_output():
        return False
    return kept.producer() is None or kept.is_graph_output()
