"""ConvTranspose as a convolution of all its phases, then their interleaving.

    ConvTranspose(x, W [C, M, KH, KW], strides s)
        =>   Conv(x, V [s * s * M, C, ceil(KH / s), ceil(KW / s)])
             -> DepthToSpace(s) -> Slice (where there are pads)

    y[s * q + r] = sum over j of x[q - j] * W[s * j + r]    (per dimension, r < s)

Every output position q of the convolution gives the s outputs of its phases r. The work is that
of the transposed convolution where s divides the kernel, and none of it multiplies the zeros that
a dilated input would hold. What follows sees a convolution: it takes the activation, and becomes
integers with its weights. Without strides it is one convolution with the kernel reversed.

Not applied where weights or shapes are not known, or to more than two image dimensions.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array, new_initializer
from edgecomp.graph.counts import open_values
from edgecomp.graph.edit import remove_unused, replace_node
from edgecomp.graph.match import is_operator
from edgecomp.graph.names import unused_name
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.source import copy_source
from edgecomp.passes.outcome import Numerics, Outcome, Refusal, finish, refuse

#: Opset from which on DepthToSpace has a mode and Slice its bounds as inputs.
_OPSET = 11


@dataclasses.dataclass(frozen=True)
class _Axis:
    """One image dimension.

    Attributes:
        extent: of x.
        stride: of the transposed convolution.
        taps: of each phase.
        begin, end: the part of all computed outputs that is wanted.
    """

    extent: int
    stride: int
    taps: int
    begin: int
    end: int

    @property
    def positions(self) -> int:
        """Outputs of the convolution."""
        return self.extent + self.taps - 1


class DecomposeConvTransposePass(ir.passes.InPlacePass):
    """Replace ConvTranspose by Conv, DepthToSpace and Slice.

    Scope: main graph.  Numerics: float-reassociated.
    """

    numerics = Numerics.REASSOCIATED

    def call(self, model: ir.Model) -> Outcome:
        """Replace in graph order."""
        applied, refusals, open_ones = 0, [], open_values(model)
        for node in list(model.graph):
            if not is_operator(node, "ConvTranspose"):
                continue
            if open_ones.reads(node):
                refusals.append(refuse(node, "only the data decides its shape"))
                continue
            refusal = _decompose(node)
            if refusal is None:
                applied += 1
            else:
                refusals.append(refusal)
        if applied:
            remove_unused(model)
        return finish(type(self).__name__, model, applied, refusals)


def _decompose(node: ir.Node) -> Refusal | None:
    assert isinstance(node.graph, ir.Graph)
    weight, shape = constant_array(node.inputs[1]), static_shape(node.inputs[0])
    wanted = static_shape(node.outputs[0])
    if weight is None:
        return refuse(node, "the weights are computed at run time")
    if len(node.inputs) > 2 and node.inputs[2] and constant_array(node.inputs[2]) is None:
        return refuse(node, "the bias is computed at run time")
    if shape is None or wanted is None:
        return refuse(node, "shapes are not known")
    if len(shape) not in (3, 4):
        return refuse(node, f"{len(shape) - 2} image dimensions")
    if node.graph.opset_imports.get("", 0) < _OPSET:
        return refuse(node, f"opset {node.graph.opset_imports.get('', 0)}")
    dilations = node.attributes.get_ints("dilations", [1] * (len(shape) - 2))
    weight = _dilated(weight, dilations)
    axes = _axes(node, shape[2:], wanted[2:], weight.shape[2:])
    if axes is None:
        return refuse(node, "pads are negative")
    groups = node.attributes.get_int("group", 1)
    value = _convolve(node, _phases(weight, axes, groups), axes, groups)
    value = _interleave(node, value, axes, wanted[:2], outermost=groups == 1)
    value = _crop(node, value, axes)
    maker = value.producer()
    assert maker is not None
    node.graph.remove(maker)
    replace_node(node, maker)
    return None


def _dilated(weight: AnyArray, steps: Sequence[int]) -> AnyArray:
    """The weights with their gaps written as zeros."""
    if all(step == 1 for step in steps):
        return weight
    size = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], steps, strict=True)]
    wide = np.zeros((*weight.shape[:2], *size), weight.dtype)
    gaps: tuple[slice, ...] = tuple(slice(None, None, step) for step in steps)
    wide[(slice(None), slice(None), *gaps)] = weight
    return wide


def _axes(
    node: ir.Node, extents: tuple[int, ...], wanted: tuple[int, ...], kernel: tuple[int, ...]
) -> list[_Axis] | None:
    """Geometry of each image dimension, None where pads are negative."""
    count = len(extents)
    strides = node.attributes.get_ints("strides", [1] * count)
    padding = node.attributes.get_ints("output_padding", [0] * count)
    auto = node.attributes.get_string("auto_pad", "NOTSET")
    computed = "output_shape" in node.attributes or auto.startswith("SAME")
    pads = node.attributes.get_ints("pads", [0] * count)
    axes = []
    for d in range(count):
        stride, extent, out = strides[d], extents[d], wanted[d]
        begin = 0 if auto == "VALID" else pads[d]
        if computed:
            total = stride * (extent - 1) + padding[d] + kernel[d] - out
            # ONNX, ConvTranspose, "pads": the odd one goes to the end for SAME_UPPER only.
            begin = total // 2 if auto == "SAME_UPPER" else total - total // 2
        if begin < 0:
            return None
        reach = max(kernel[d], begin + out - stride * (extent - 1))
        taps = -(-reach // stride)
        axes.append(_Axis(extent, stride, taps, begin, begin + out))
    return axes


def _phases(weight: AnyArray, axes: list[_Axis], groups: int) -> AnyArray:
    """Weights of the convolution: [phases * M, C / groups, taps ...].

    The phases are outermost within the output channels without groups, innermost with them.
    """
    inputs, outputs, *kernel = weight.shape
    padded = np.zeros(
        (inputs, outputs, *(axis.taps * axis.stride for axis in axes)), weight.dtype
    )
    inside: tuple[slice, ...] = tuple(slice(size) for size in kernel)
    padded[(slice(None), slice(None), *inside)] = weight
    # [groups, C / groups, M / groups, taps, phase, taps, phase ...], taps reversed
    split = padded.reshape(
        groups, inputs // groups, outputs, *(n for a in axes for n in (a.taps, a.stride))
    )
    taps = [3 + 2 * d for d in range(len(axes))]
    phases = [4 + 2 * d for d in range(len(axes))]
    split = np.flip(split, tuple(taps))
    order = [0, *phases, 2, 1, *taps] if groups == 1 else [0, 2, *phases, 1, *taps]
    total = groups * outputs * math.prod(axis.stride for axis in axes)
    shape = (total, inputs // groups, *(axis.taps for axis in axes))
    return np.ascontiguousarray(split.transpose(order).reshape(shape))


def _convolve(node: ir.Node, weight: AnyArray, axes: list[_Axis], groups: int) -> ir.Value:
    graph, (x, old, *rest) = node.graph, node.inputs
    assert isinstance(graph, ir.Graph)
    assert old is not None
    assert x is not None
    inputs = [x, new_initializer(graph, f"{old.name}_phases", weight)]
    bias = rest[0] if rest else None
    if bias is not None:
        phases = math.prod(axis.stride for axis in axes)
        contents = constant_array(bias)
        assert contents is not None
        spread = np.tile(contents, phases) if groups == 1 else np.repeat(contents, phases)
        inputs.append(new_initializer(graph, f"{bias.name}_phases", spread))
    shape = static_shape(x)
    assert shape is not None
    attributes: dict[str, object] = {
        "group": groups,
        "kernel_shape": [axis.taps for axis in axes],
        "pads": [axis.taps - 1 for axis in axes] * 2,
        "strides": [1] * len(axes),
        "dilations": [1] * len(axes),
    }
    result = [shape[0], weight.shape[0], *(axis.positions for axis in axes)]
    return _append(node, "Conv", inputs, result, attributes)


def _interleave(
    node: ir.Node,
    value: ir.Value,
    axes: list[_Axis],
    head: tuple[int, ...],
    *,
    outermost: bool,
) -> ir.Value:
    """Put the phases beside each other."""
    strides = [axis.stride for axis in axes]
    shape = [*head, *(axis.positions * axis.stride for axis in axes)]
    if all(stride == 1 for stride in strides):
        return value
    if len(axes) == 2 and strides[0] == strides[1]:
        attributes = {"blocksize": strides[0], "mode": "DCR" if outermost else "CRD"}
        return _append(node, "DepthToSpace", [value], shape, attributes)
    batch, channels = head
    count, positions = len(axes), [axis.positions for axis in axes]
    split = [*strides, channels] if outermost else [channels, *strides]
    first_phase, at = (1, 1 + count) if outermost else (2, 1)
    order = [0, at]
    for d in range(count):
        order += [2 + count + d, first_phase + d]
    split = [batch, *split, *positions]
    value = _append(node, "Reshape", [value, _numbers(node, "split", split)], split)
    moved = [split[d] for d in order]
    value = _append(node, "Transpose", [value], moved, {"perm": order})
    return _append(node, "Reshape", [value, _numbers(node, "joined", shape)], shape)


def _crop(node: ir.Node, value: ir.Value, axes: list[_Axis]) -> ir.Value:
    """The part that the pads leave."""
    shape = static_shape(value)
    assert shape is not None
    wanted = [axis.end - axis.begin for axis in axes]
    if list(shape[2:]) == wanted:
        return value
    bounds = [
        _numbers(node, "starts", [axis.begin for axis in axes]),
        _numbers(node, "ends", [axis.end for axis in axes]),
        _numbers(node, "axes", [2 + d for d in range(len(axes))]),
    ]
    return _append(node, "Slice", [value, *bounds], [*shape[:2], *wanted])


def _numbers(node: ir.Node, name: str, numbers: list[int]) -> ir.Value:
    assert isinstance(node.graph, ir.Graph)
    return new_initializer(node.graph, f"{node.name}_{name}", np.array(numbers, np.int64))


def _append(
    node: ir.Node,
    operator: str,
    inputs: list[ir.Value],
    shape: Sequence[int],
    attributes: Mapping[str, object] | None = None,
) -> ir.Value:
    """A node before ``node`` that stands for it; returns its result."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    name = unused_name(graph, f"{node.outputs[0].name}_{operator.lower()}")
    made = ir.node(operator, inputs, attributes or {}, name=name)  # type: ignore[arg-type]
    copy_source(node, made)
    node.prepend(made)
    result = made.outputs[0]
    result.name = name
    result.type, result.shape = node.outputs[0].type, ir.Shape(shape)
    return result
