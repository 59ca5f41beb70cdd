"""What every node has to have, and that neither onnx's checker nor its inference looks at."""

from collections.abc import Iterable

import onnx

from edgecomp.errors import Code, EdgecompError, nearest_hint

_PADDING = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
_DIRECTIONS = ("forward", "reverse", "bidirectional")
_RESIZE = {
    "mode": ("nearest", "linear", "cubic"),
    "nearest_mode": ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil", "simple"),
    "coordinate_transformation_mode": (
        "half_pixel",
        "half_pixel_symmetric",
        "pytorch_half_pixel",
        "align_corners",
        "asymmetric",
        "tf_crop_and_resize",
        "tf_half_pixel_for_nn",
    ),
    "keep_aspect_ratio_policy": ("stretch", "not_larger", "not_smaller"),
}
_REDUCTIONS = ("none", "add", "mul", "max", "min")

#: Operator of the standard domain -> attribute -> its words (ONNX operator definitions, all
#: versions together).
WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    **{
        operator: {"auto_pad": _PADDING}
        for operator in (
            "AveragePool",
            "Conv",
            "ConvInteger",
            "ConvTranspose",
            "LpPool",
            "MaxPool",
            "QLinearConv",
        )
    },
    **{operator: {"direction": _DIRECTIONS} for operator in ("GRU", "LSTM", "RNN")},
    "BitShift": {"direction": ("LEFT", "RIGHT")},
    "DepthToSpace": {"mode": ("DCR", "CRD")},
    "Gelu": {"approximate": ("none", "tanh")},
    "GridSample": {
        "mode": ("bilinear", "nearest", "bicubic", "linear", "cubic"),
        "padding_mode": ("zeros", "border", "reflection"),
    },
    "NegativeLogLikelihoodLoss": {"reduction": ("none", "sum", "mean")},
    "Pad": {"mode": ("constant", "reflect", "edge", "wrap")},
    "Resize": _RESIZE,
    "RoiAlign": {
        "mode": ("avg", "max"),
        "coordinate_transformation_mode": ("half_pixel", "output_half_pixel"),
    },
    "ScatterElements": {"reduction": _REDUCTIONS},
    "ScatterND": {"reduction": _REDUCTIONS},
    "SoftmaxCrossEntropyLoss": {"reduction": ("none", "sum", "mean")},
    "TensorScatter": {"mode": ("linear", "circular")},
    "Upsample": {"mode": ("nearest", "linear", "bilinear")},
}
#: Attributes that name dimensions: onnx reads them in 32 bits and takes 2**40 for 0.
_AXES = ("axis", "axes", "batch_axis", "time_axis", "perm")
_MOST_DIMENSIONS = 64
#: Attributes that count elements of an image.
_EXTENTS = ("kernel_shape", "strides", "dilations", "pads", "output_padding")
_MOST_ELEMENTS = 1 << 24
#: Operator -> attribute -> its numbers.
NUMBERS: dict[str, dict[str, range]] = {
    "LRN": {"size": range(1, _MOST_ELEMENTS)},
    "LpNormalization": {"p": range(1, 3)},
}
_OPTIONAL = onnx.defs.OpSchema.FormalParameterOption.Optional


def check_nodes(nodes: Iterable[onnx.NodeProto], version: int) -> None:
    """Inputs that are not optional, words that operators know, dimensions that there can be.

    Args:
        nodes: of a graph, whose bodies are looked at too; in none of them does an attribute refer
            to one of a function.
        version: of the standard operators.

    Raises:
        EdgecompError: MODEL_INVALID naming the node.
    """
    for node in nodes:
        if node.domain in ("", "ai.onnx"):
            _check_inputs(node, version)
            _check_attributes(node)
        for attribute in node.attribute:
            check_nodes(attribute.g.node, version)


def _check_attributes(node: onnx.NodeProto) -> None:
    if node.op_type == "Constant" and len(node.attribute) != 1:
        raise _invalid(node, f"a Constant of {len(node.attribute)} values instead of one")
    words = WORDS.get(node.op_type, {})
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.STRING and attribute.name in words:
            _check_word(node, attribute, words[attribute.name])
        if attribute.name in _AXES:
            _check_numbers(
                node, attribute, _MOST_DIMENSIONS, "no tensor has so many dimensions"
            )
        if attribute.name in _EXTENTS:
            _check_numbers(node, attribute, _MOST_ELEMENTS, "no image is so large")
        numbers = NUMBERS.get(node.op_type, {}).get(attribute.name)
        if numbers is not None and attribute.i not in numbers:
            cause = f"{node.op_type} has {attribute.name} {attribute.i}, which ONNX does not define"
            raise _invalid(node, cause)


def _check_inputs(node: onnx.NodeProto, version: int) -> None:
    """Only optional inputs may be left out by an empty name."""
    if all(node.input) or not onnx.defs.has(node.op_type, version, ""):
        return
    formal = onnx.defs.get_schema(node.op_type, version, "").inputs
    for index, name in enumerate(node.input):
        kind = formal[min(index, len(formal) - 1)] if formal else None
        if not name and kind is not None and kind.option != _OPTIONAL:
            raise _invalid(node, f"{node.op_type} is without its input {index} ({kind.name})")


def _check_word(
    node: onnx.NodeProto, attribute: onnx.AttributeProto, words: tuple[str, ...]
) -> None:
    word = attribute.s.decode(errors="replace")
    if word not in words:
        cause = f"{node.op_type} has {attribute.name} '{word}', which ONNX does not define"
        raise _invalid(node, cause, nearest_hint(word, words))


def _check_numbers(
    node: onnx.NodeProto, attribute: onnx.AttributeProto, most: int, why: str
) -> None:
    given = (
        [attribute.i] if attribute.type == onnx.AttributeProto.INT else list(attribute.ints)
    )
    if any(abs(number) > most for number in given):
        raise _invalid(node, f"{node.op_type} has {attribute.name} {given}: {why}")


def _invalid(
    node: onnx.NodeProto,
    cause: str,
    hint: str = "the file is damaged or was edited: export it again",
) -> EdgecompError:
    return EdgecompError(Code.MODEL_INVALID, cause, node=node_label(node), hint=hint)


def node_label(node: onnx.NodeProto) -> str:
    """Its name, or that of a result, or its operator."""
    return node.name or next((name for name in node.output if name), node.op_type)
