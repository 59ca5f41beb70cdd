"""Move a Pad into the convolution or pool behind it.

    Pad(x, [0,0,1,1, 0,0,1,1], 0) -> Conv <pads = [0,0,0,0]>   =>   Conv <pads = [1,1,1,1]>

* Conv pads with zeros itself.
* AveragePool counts padding elements if ``count_include_pad`` is set: it is set, which needs its
  own pads to be zero or counted already.
* MaxPool ignores padding: the same only where the padded value can never win, that is -inf, or
  0 where x is a Relu's or Clip's result of at least 0 and each window holds an element of x.

Refused: pads of batch or channels, other modes than constant, negative pads, ceil_mode.
"""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.edit import remove_unused
from edgecomp.graph.match import clip_bounds, producer
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.source import copy_source
from edgecomp.passes.outcome import Numerics, Outcome, Refusal, finish, refuse


class MergePadsPass(ir.passes.InPlacePass):
    """Merge Pad into Conv, AveragePool and MaxPool.

    Scope: main graph.
    Numerics: float-reassociated (another padding may choose another convolution routine).
    """

    numerics = Numerics.REASSOCIATED

    def call(self, model: ir.Model) -> Outcome:
        """Merge where the result is the same."""
        applied = 0
        refusals: list[Refusal] = []
        for node in list(model.graph):
            pad = producer(node.inputs[0], "Pad") if node.inputs else None
            if pad is None or node.domain != "":
                continue
            if node.op_type not in ("Conv", "AveragePool", "MaxPool"):
                continue
            reason = _merge(pad, node)
            if reason:
                refusals.append(refuse(node, reason))
            else:
                applied += 1
        if applied:
            remove_unused(model)
        return finish(type(self).__name__, model, applied, refusals)


def _merge(pad: ir.Node, node: ir.Node) -> str:
    """Merge; returns why not, or ""."""
    shape = static_shape(pad.inputs[0])
    amounts = constant_array(pad.inputs[1])
    value = _pad_value(pad)
    if shape is None or amounts is None or value is None:
        return "the padding is not constant"
    if pad.attributes.get_string("mode", "constant") != "constant":
        return f"it pads by {pad.attributes['mode'].as_string()}"
    full = _all_axes(pad, amounts, len(shape))
    if full is None or (full < 0).any():
        return "the padding is negative or its axes are not constant"
    if full[:, :2].any():
        return "it pads batch or channels"
    if node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return "the node has auto_pad"
    if node.attributes.get_int("ceil_mode", 0):
        return "the node has ceil_mode"
    spatial = len(shape) - 2
    own = np.array(node.attributes.get_ints("pads", [0] * (2 * spatial)))
    total = own + full[:, 2:].reshape(-1)
    reason = _refusal_of_value(pad, node, value, own, total)
    if reason:
        return reason
    node.attributes.pop("auto_pad", None)
    node.attributes["pads"] = ir.AttrInt64s("pads", [int(amount) for amount in total])
    if node.op_type == "AveragePool":
        node.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 1)
    node.replace_input_with(0, pad.inputs[0])
    copy_source(pad, node)
    return ""


def _refusal_of_value(
    pad: ir.Node, node: ir.Node, value: float, own: AnyArray, total: AnyArray
) -> str:
    if node.op_type == "Conv":
        return "" if value == 0 else f"it pads with {value:g}, a convolution with 0"
    window = np.array(list(node.attributes["kernel_shape"].as_ints()) * 2)
    if (total >= window).any():
        return "a window would lie in the padding alone"
    if node.op_type == "AveragePool":
        counted = node.attributes.get_int("count_include_pad", 0)
        if value != 0:
            return f"it pads with {value:g}, which an average would count"
        return "" if counted or not own.any() else "the pool's own pads are not counted"
    if value == -np.inf:
        return ""
    dilations = node.attributes.get_ints("dilations", [])
    bounds = clip_bounds(pad.inputs[0].producer()) if pad.inputs[0].producer() else None  # type: ignore[union-attr,arg-type]
    if value == 0 and bounds is not None and bounds[0] >= 0 and all(d == 1 for d in dilations):
        return "" if not own.any() or bounds[0] >= 0 else "the pool has pads of its own"
    return f"it pads with {value:g}, which could win the maximum"


def _pad_value(pad: ir.Node) -> float | None:
    value = pad.inputs[2] if len(pad.inputs) > 2 else None
    if value is None:
        return 0.0
    array = constant_array(value)
    return None if array is None else float(array.reshape(-1)[0])


def _all_axes(pad: ir.Node, amounts: AnyArray, rank: int) -> AnyArray | None:
    """Amounts as [2, rank]: before and after each dimension."""
    axes_value = pad.inputs[3] if len(pad.inputs) > 3 else None
    if axes_value is None:
        return amounts.reshape(2, rank)
    axes = constant_array(axes_value)
    if axes is None:
        return None
    full = np.zeros((2, rank), np.int64)
    full[:, [int(axis) % rank for axis in axes]] = amounts.reshape(2, -1)
    return full
