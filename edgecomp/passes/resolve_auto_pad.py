"""Write ``auto_pad`` of convolutions and pools out as explicit pads.

    Conv <auto_pad = SAME_UPPER>   =>   Conv <pads = [0, 0, 1, 1]>

Along each image dimension of extent i, stride s, window k, dilation d: the output has
ceil(i / s) elements, hence ``total = max((ceil(i/s) - 1) * s + (k - 1) * d + 1 - i, 0)``; the
smaller half comes first for SAME_UPPER, last for SAME_LOWER. Not applied to ConvTranspose, whose
rule depends on output_padding, nor with ceil_mode.
"""

import onnx_ir as ir

from edgecomp.graph.shapes import static_shape
from edgecomp.passes.outcome import Numerics, Outcome, Refusal, finish, refuse

_OPERATORS = ("Conv", "MaxPool", "AveragePool", "LpPool")


class ResolveAutoPadPass(ir.passes.InPlacePass):
    """Replace auto_pad by explicit pads.

    Scope: main graph.  Numerics: exact.
    """

    numerics = Numerics.EXACT

    def call(self, model: ir.Model) -> Outcome:
        """Rewrite the attributes."""
        applied = 0
        refusals: list[Refusal] = []
        for node in model.graph:
            mode = node.attributes.get_string("auto_pad", "NOTSET")
            if node.domain != "" or node.op_type not in _OPERATORS or mode == "NOTSET":
                continue
            pads = _explicit_pads(node, mode or "NOTSET")
            if pads is None:
                refusals.append(refuse(node, "the input's shape is not known, or ceil_mode"))
                continue
            del node.attributes["auto_pad"]
            node.attributes["pads"] = ir.AttrInt64s("pads", pads)
            applied += 1
        return finish(type(self).__name__, model, applied, refusals)


def _explicit_pads(node: ir.Node, mode: str) -> list[int] | None:
    shape = static_shape(node.inputs[0])
    if shape is None or node.attributes.get_int("ceil_mode", 0) != 0:
        return None
    extents = shape[2:]
    rank = len(extents)
    if mode == "VALID":
        return [0] * (2 * rank)
    window = node.attributes.get_ints("kernel_shape", None)
    if window is None:
        weight = static_shape(node.inputs[1])
        if weight is None:
            return None
        window = weight[2:]
    strides = node.attributes.get_ints("strides", [1] * rank)
    dilations = node.attributes.get_ints("dilations", [1] * rank)
    before, after = [], []
    for extent, size, stride, dilation in zip(
        extents, window, strides, dilations, strict=True
    ):
        outputs = -(-extent // stride)
        total = max((outputs - 1) * stride + (size - 1) * dilation + 1 - extent, 0)
        small, large = total // 2, total - total // 2
        before.append(small if mode == "SAME_UPPER" else large)
        after.append(large if mode == "SAME_UPPER" else small)
    return before + after
