"""Pools over windows and over the whole image."""

import onnx_ir as ir

from edgecomp.graph.windows import window_of
from edgecomp.lower.operators.windows import emit_on_image, image_pads, pair, window_refusal
from edgecomp.lower.reader import Reader, attribute_int, attribute_ints
from edgecomp.plan.reductions import Pool, Reduce


def read_pool(reader: Reader, node: ir.Node) -> str:
    """MaxPool with one output, AveragePool."""
    indices = node.outputs[1] if len(node.outputs) > 1 else None
    if indices is not None and (indices.uses() or indices.is_graph_output()):
        return "indices output"
    x = reader.input(node, 0)
    maximum = node.op_type == "MaxPool"
    if x.dtype not in (("float32", "uint8", "int8") if maximum else ("float32",)):
        return f"element type {x.dtype}"
    window = window_of(node, x.shape, attribute_ints(node, "kernel_shape", ()))
    if refusal := window_refusal(window):
        return refusal
    include = bool(attribute_int(node, "count_include_pad", 0))
    if include and not window.fits:
        return "windows that overshoot the padding they count"
    kind = Pool(
        maximum=maximum,
        window=pair(window.kernel, 1),
        strides=pair(window.strides, 1),
        dilations=pair(window.dilations, 1),
        pads=image_pads(window),
        count_include_pad=include,
    )
    output = reader.value(node.outputs[0])
    emit_on_image(reader, node, x, [], kind, [node], output)
    return ""


def read_global_pool(reader: Reader, node: ir.Node) -> str:
    """GlobalAveragePool and GlobalMaxPool as reductions."""
    x = reader.input(node, 0)
    if x.dtype != "float32":
        return f"element type {x.dtype}"
    operator = "ReduceMax" if node.op_type == "GlobalMaxPool" else "ReduceMean"
    kind = Reduce(operator=operator, axes=tuple(range(2, len(x.shape))))
    reader.emit(kind, [x], [reader.value(node.outputs[0])], [node])
    return ""


TABLE = {
    "MaxPool": read_pool,
    "AveragePool": read_pool,
    "GlobalAveragePool": read_global_pool,
    "GlobalMaxPool": read_global_pool,
}
