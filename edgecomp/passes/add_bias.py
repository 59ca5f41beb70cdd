"""Add a constant per output channel behind a product: into its bias where it has one."""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array, new_initializer
from edgecomp.graph.edit import insert_behind, only_reader, set_constant_input
from edgecomp.graph.match import is_operator
from edgecomp.passes.channel_scale import scale_output_channels


def add_bias(node: ir.Node, bias: AnyArray) -> None:
    """Make a product's result larger by a constant row.

    Args:
        node: Conv, ConvTranspose or canonical Gemm, or MatMul with a constant [K, N].
        bias: float64 [channels].
    """
    if not np.any(bias):
        return
    if not is_operator(node, "MatMul"):
        scale_output_channels(node, None, bias)
        return
    behind = bias_of_matmul(node)
    if behind is not None:
        total, old = behind
        set_constant_input(total, 1, (old.astype(np.float64) + bias).astype(old.dtype))
        return
    _insert_add(node, bias)


def bias_of_matmul(node: ir.Node) -> tuple[ir.Node, AnyArray] | None:
    """The Add behind a MatMul and its constant row [N], None where there is none."""
    total = only_reader(node.outputs[0])
    if total is None or not is_operator(total, "Add"):
        return None
    if total.inputs[0] is not node.outputs[0]:
        return None
    row = constant_array(total.inputs[1])
    shape = node.outputs[0].shape
    if row is None or row.ndim != 1 or shape is None or row.shape[0] != shape[-1]:
        return None
    return total, row


def _insert_add(node: ir.Node, bias: AnyArray) -> None:
    graph, result = node.graph, node.outputs[0]
    assert isinstance(graph, ir.Graph)
    assert result.dtype is not None
    row = new_initializer(graph, f"{result.name}_bias", bias.astype(result.dtype.numpy()))
    insert_behind(node, "Add", row, name=f"{node.name}_bias")
