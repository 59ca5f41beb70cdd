"""LSTM, GRU and RNN: one product for what the inputs contribute, then the steps."""

import dataclasses

import numpy as np
import onnx_ir as ir

from edgecomp.graph.qdq_tensors import Refusal, dequantize_of, weight_of
from edgecomp.lower.operators.movement import reshaped
from edgecomp.lower.reader import (
    Reader,
    attribute_int,
    attribute_string,
    constant_input,
    optional_input,
    static_type,
)
from edgecomp.plan.elementwise import Elementwise, Step
from edgecomp.plan.finish import Activation
from edgecomp.plan.movement import Fill, StridedCopy
from edgecomp.plan.products import BatchMatrixMultiply, MatrixMultiply, ScaledMatrixMultiply
from edgecomp.plan.recurrence import Recurrence
from edgecomp.plan.values import Array, Value

#: Operator -> its activations f, g, h where the node names none.
_ACTIVATIONS = {
    "LSTM": ("sigmoid", "tanh", "tanh"),
    "GRU": ("sigmoid", "tanh"),
    "RNN": ("tanh",),
}
#: Activation -> default alpha and beta; None for a parameter that it does not take.
_PARAMETERS: dict[str, tuple[float | None, float | None]] = {
    "affine": (1.0, 0.0),
    "elu": (1.0, None),
    "hardsigmoid": (0.2, 0.5),
    "leakyrelu": (0.01, None),
    "relu": (None, None),
    "scaledtanh": (1.0, 1.0),
    "sigmoid": (None, None),
    "softplus": (None, None),
    "softsign": (None, None),
    "tanh": (None, None),
    "thresholdedrelu": (1.0, None),
}
#: Positions of inputs.
_BIAS, _LENGTHS, _INITIAL_H, _INITIAL_C, _PEEPHOLES = 3, 4, 5, 6, 7


@dataclasses.dataclass(frozen=True)
class _Box:
    """Part of a tensor, brought into another order and padded with zeros.

    Attributes:
        shape: of the tensor, seen with all its dimensions apart.
        permutation: for each of them the dimension of the result, or -1: only ``start`` of it.
        start: first element of the part.
        box: extents of the part, in the result's order.
        padded: extents of the result.
    """

    shape: tuple[int, ...]
    permutation: tuple[int, ...]
    start: tuple[int, ...]
    box: tuple[int, ...]
    padded: tuple[int, ...]


def read_recurrent(reader: Reader, node: ir.Node) -> str:
    """Any of the three, in all their forms."""
    kind = _kind(node)
    if isinstance(kind, str):
        return kind
    x = reader.input(node, 0)
    if x.dtype != "float32":
        return f"element type {x.dtype}"
    if not x.elements or not kind.hidden:
        return "no elements"
    scales, recurrence = _recurrence(reader, node, kind)
    extras = scales | _cell_constants(reader, node, kind) | _states(reader, node, kind, x)
    outputs = {
        name: reader.value(value)
        for name, value in zip(("y", "h", "c"), node.outputs, strict=False)
        if value.name and (value.uses() or value.is_graph_output())
    }
    kind = dataclasses.replace(kind, extras=tuple(extras), results=tuple(outputs))
    contribution = _contribution(reader, node, kind, x)
    reader.emit(
        kind, [contribution, recurrence, *extras.values()], list(outputs.values()), [node]
    )
    return ""


def _recurrence(
    reader: Reader, node: ir.Node, kind: Recurrence
) -> tuple[dict[str, Value], Value]:
    """The recurrence's matrix in the operation's order, and its scales if it is in 8 bits."""
    directions, gates, hidden = len(kind.reverse), kind.gates, kind.hidden
    order = _Box(
        (directions, gates, hidden, hidden),
        (0, 2, 3, 1),
        (0, 0, 0, 0),
        (directions, hidden, gates, hidden),
        (directions, hidden, gates, kind.padded_hidden),
    )
    stored = _stored_weight(node, 2)
    if stored is None:
        return {}, _take(reader, node, "recurrence", reader.input(node, 2), order)
    numbers, scales = stored
    name = f"{node.name}.recurrence"
    scale = reader.new_constant(f"{name}_scale", _taken(scales, _scale_box(kind)))
    return {"recurrence_scale": scale}, reader.new_constant(name, _taken(numbers, order))


def _stored_weight(node: ir.Node, index: int) -> tuple[Array, Array] | None:
    """Numbers in 8 bits [D, rows, K] and scales [D, rows] of a dequantized constant."""
    value = node.inputs[index]
    if dequantize_of(value) is None:
        return None
    try:
        numbers, scale = weight_of(value, channel_axis=1)
    except Refusal:
        return None
    return numbers, np.broadcast_to(scale, numbers.shape[:2])


def _scale_box(kind: Recurrence) -> _Box:
    """Scales [D, gates * hidden] with every gate padded."""
    directions, gates, hidden = len(kind.reverse), kind.gates, kind.hidden
    shape = (directions, gates, hidden)
    return _Box(shape, (0, 1, 2), (0, 0, 0), shape, (directions, gates, kind.padded_hidden))


def _kind(node: ir.Node) -> Recurrence | str:
    """The operation without extras and results, or why there is none."""
    direction = attribute_string(node, "direction", "forward")
    reverse = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    activations = _activations(node, len(reverse[direction]))
    if isinstance(activations, str):
        return activations
    clip = node.attributes.get("clip")
    recurrence = node.inputs[2]
    assert recurrence is not None
    return Recurrence(
        cell=node.op_type.lower(),
        hidden=static_type(recurrence)[0][2],
        reverse=reverse[direction],
        activations=activations,
        clip=None if clip is None else clip.as_float(),
        batch_first=bool(attribute_int(node, "layout", 0)),
        linear_before_reset=bool(attribute_int(node, "linear_before_reset", 0)),
        input_forget=bool(attribute_int(node, "input_forget", 0)),
    )


def _activations(node: ir.Node, directions: int) -> tuple[tuple[Activation, ...], ...] | str:
    """f, g, h of every direction; their parameters come from two lists, in order."""
    given = node.attributes.get("activations")
    defaults = _ACTIVATIONS[node.op_type]
    names = list(given.as_strings()) if given is not None else list(defaults) * directions
    lists = [
        list(attribute.as_floats()) if attribute is not None else []
        for attribute in map(node.attributes.get, ("activation_alpha", "activation_beta"))
    ]
    made = []
    for name in (name.lower() for name in names):
        if name not in _PARAMETERS:
            return f"activation {name}"
        values = [
            0.0 if default is None else (numbers.pop(0) if numbers else default)
            for default, numbers in zip(_PARAMETERS[name], lists, strict=True)
        ]
        made.append(Activation(name, *values))
    count = len(defaults)
    return tuple(tuple(made[i * count : (i + 1) * count]) for i in range(directions))


def _cell_constants(reader: Reader, node: ir.Node, kind: Recurrence) -> dict[str, Value]:
    """What the cell's equations read beside gates and states."""
    directions, hidden, padded = len(kind.reverse), kind.hidden, kind.padded_hidden
    found: dict[str, Value] = {}
    if kind.linear_before_reset:
        if optional_input(node, _BIAS) is None:
            bias = reader.new_constant(
                f"{node.name}.candidate_bias", np.zeros((directions, padded), np.float32)
            )
        else:
            own = _Box(
                (directions, 2, kind.gates, hidden),
                (0, -1, -1, 1),
                (0, 1, 2, 0),
                (directions, hidden),
                (directions, padded),
            )
            bias = _take(reader, node, "candidate_bias", reader.input(node, _BIAS), own)
        found["candidate_bias"] = bias
    if kind.cell == "lstm" and optional_input(node, _PEEPHOLES) is not None:
        peepholes = reader.input(node, _PEEPHOLES)
        shape = (directions, 3, hidden)
        if peepholes.constant is None or peepholes.constant.any():
            rows = _Box(shape, (0, 1, 2), (0, 0, 0), shape, (directions, 3, padded))
            found["peepholes"] = _take(reader, node, "peepholes", peepholes, rows)
    return found


def _states(reader: Reader, node: ir.Node, kind: Recurrence, x: Value) -> dict[str, Value]:
    """Lengths and first states, where they say more than the defaults."""
    found: dict[str, Value] = {}
    lengths = constant_input(node, _LENGTHS)
    steps = x.shape[1 if kind.batch_first else 0]
    if optional_input(node, _LENGTHS) is not None and (
        lengths is None or (lengths != steps).any()
    ):
        found["lengths"] = reader.input(node, _LENGTHS)
    positions = {"initial_h": _INITIAL_H}
    if kind.cell == "lstm":
        positions["initial_c"] = _INITIAL_C
    for name, position in positions.items():
        known = constant_input(node, position)
        if optional_input(node, position) is not None and (known is None or known.any()):
            found[name] = reader.input(node, position)
    return found


def _contribution(reader: Reader, node: ir.Node, kind: Recurrence, x: Value) -> Value:
    """The product of all inputs of all steps with the gates' weights, biases added."""
    directions, gates = len(kind.reverse), kind.gates
    hidden, padded, features = kind.hidden, kind.padded_hidden, x.shape[-1]
    columns = directions * gates * padded
    order = _Box(
        (directions, gates, hidden, features),
        (1, 2, 3, 0),
        (0, 0, 0, 0),
        (features, directions, gates, hidden),
        (features, directions, gates, padded),
    )
    biases = [reshaped(reader, bias, (columns,), node) for bias in _biases(reader, node, kind)]
    shape = (*x.shape[:2], columns)
    output = reader.new_value(f"{node.name}.inputs", shape, "float32")
    known = [bias.constant for bias in biases if bias.constant is not None]
    row = np.sum([np.zeros(columns, np.float32), *known], axis=0)
    stored = _stored_weight(node, 1)
    if stored is not None and len(known) == len(biases):
        numbers, scales = stored
        constants = {
            "weight": _taken(numbers, order).reshape(features, columns),
            "weight_scale": _taken(scales, _scale_box(kind)).reshape(columns),
            "bias": row,
        }
        made = [reader.new_constant(f"{node.name}.{n}", c) for n, c in constants.items()]
        reader.emit(ScaledMatrixMultiply(), [x, *made], [output], [node])
        return output
    weight = _take(reader, node, "weight", reader.input(node, 1), order)
    weight = reshaped(reader, weight, (features, columns), node)
    if weight.constant is not None and len(known) == len(biases):
        bias = reader.new_constant(f"{node.name}.bias", row)
        reader.emit(MatrixMultiply(), [x, weight, bias], [output], [node])
        return output
    product = reader.new_value(f"{node.name}.product", shape, "float32") if biases else output
    reader.emit(BatchMatrixMultiply(), [x, weight], [product], [node])
    if biases:
        step = Step("Sum", tuple(range(1 + len(biases))), "float32")
        reader.emit(Elementwise((step,)), [product, *biases], [output], [node])
    return output


def _biases(reader: Reader, node: ir.Node, kind: Recurrence) -> list[Value]:
    """Those of the inputs and, but for a candidate that is reset later, of the recurrence."""
    if optional_input(node, _BIAS) is None:
        return []
    directions, hidden, padded = len(kind.reverse), kind.hidden, kind.padded_hidden
    made = []
    for which, name in enumerate(("input_bias", "recurrence_bias")):
        gates = kind.gates - (1 if which and kind.linear_before_reset else 0)
        own = _Box(
            (directions, 2, kind.gates, hidden),
            (0, -1, 1, 2),
            (0, which, 0, 0),
            (directions, gates, hidden),
            (directions, kind.gates, padded),
        )
        made.append(_take(reader, node, name, reader.input(node, _BIAS), own))
    return made


def _take(reader: Reader, node: ir.Node, name: str, x: Value, box: _Box) -> Value:
    """A part of a constant, at once, or of a value, when the model runs."""
    name = f"{node.name}.{name}"
    if x.constant is not None:
        return reader.new_constant(name, _taken(x.constant, box))
    source = reshaped(reader, x, box.shape, node)
    output = reader.new_value(name, box.padded, x.dtype)
    if box.box != box.padded:
        reader.emit(Fill(0.0), [], [output], [node])
    copy = StridedCopy(
        shape=box.box,
        permutation=box.permutation,
        in_start=box.start,
        in_step=(1,) * len(box.shape),
        out_start=(0,) * len(box.padded),
        out_step=(1,) * len(box.padded),
    )
    reader.emit(copy, [source], [output], [node])
    return output


def _taken(array: Array, box: _Box) -> Array:
    part = array.reshape(box.shape)
    extents = [1 if to < 0 else box.box[to] for to in box.permutation]
    part = part[
        tuple(slice(s, s + extent) for s, extent in zip(box.start, extents, strict=True))
    ]
    kept = [d for d, to in enumerate(box.permutation) if to >= 0]
    part = part.reshape([extents[d] for d in kept])
    part = part.transpose(np.argsort([box.permutation[d] for d in kept]))
    padded = np.zeros(box.padded, array.dtype)
    padded[tuple(slice(0, extent) for extent in box.box)] = part
    return padded


TABLE = dict.fromkeys(_ACTIVATIONS, read_recurrent)
