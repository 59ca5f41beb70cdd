"""Groups of QuantizeLinear, DequantizeLinear and float nodes to integer operations."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import constant_array, is_constant
from edgecomp.graph.int4_casts import is_int4_multiply
from edgecomp.graph.integer import Affine, AnyArray, Requantization
from edgecomp.graph.integer_operators import (
    IntegerAverage,
    IntegerMultiply,
    IntegerOperator,
    IntegerProduct,
    IntegerSum,
    QuantizedTensor,
    StoredConcat,
    StoredMaximum,
    StoredMove,
    StoredTable,
    ValueProduct,
)
from edgecomp.graph.narrow_weights import is_narrow_weight
from edgecomp.graph.packed_weights import is_packed_weight
from edgecomp.lower.operators import counting, movement, padding, resize
from edgecomp.lower.operators.affine import emit_dequantize, emit_quantize
from edgecomp.lower.operators.integer_product import ProductReading
from edgecomp.lower.operators.sixteen_bits import (
    emit_sixteen_bit_multiply,
    emit_sixteen_bit_product,
    emit_sixteen_bit_sum,
    has_sixteen_bits,
)
from edgecomp.lower.operators.wide_product import emit_wide_product
from edgecomp.lower.operators.windows import emit_on_image, image_pads, pair
from edgecomp.lower.reader import Reader, optional_input
from edgecomp.plan.elementwise import LookupTable, QuantizedAdd, QuantizedMultiply
from edgecomp.plan.finish import IntegerAdd, Requantize, Scale
from edgecomp.plan.movement import Reinterpret, StridedCopy
from edgecomp.plan.products import BatchMatrixMultiply
from edgecomp.plan.quantization import Dequantize, Quantize
from edgecomp.plan.reductions import Pool, Reduce
from edgecomp.plan.values import Quantization, Value


def emit_group(reader: Reader, group: IntegerOperator) -> None:
    """Emit the operations of one group."""
    EMITTERS[type(group)](reader, group)


def _emit_product(reader: Reader, group: IntegerProduct) -> None:
    (tensor,) = group.inputs
    x = reader.stored(tensor)
    assert x.quantization is not None
    weight = group.weight
    # Sums over everything but the output channel: axis 0 of a Conv, the last of a matrix.
    summed = tuple(range(1, weight.ndim)) if group.window else (0,)
    sums = weight.astype(np.int64).sum(axis=summed)
    bias = group.bias - x.quantization.zero_point * sums
    finish: Requantize | Scale = Scale(group.multiplier)
    if group.requantization is not None:
        finish = _requantize(reader, group.requantization)
    output = reader.stored(group.output) if group.output else reader.value(group.result)
    product = ProductReading(reader, group, x)
    if group.is_wide:
        emit_sixteen_bit_product(product, bias, finish, output)
        return
    bias = bias.astype(np.int32)
    if weight.dtype != np.int8:
        emit_wide_product(product, bias, finish, output)
        return
    product.emit(weight, bias, finish, output, weight_bits=group.weight_bits)


def _emit_value_product(reader: Reader, group: ValueProduct) -> None:
    """Products of whole steps in float32, which are exact: what any target computes.

    Processors that have a kernel for the integers take them instead (lower/fuse_value_products.py).
    """
    centred = []
    for tensor in group.inputs:
        x = reader.stored(tensor)
        assert x.quantization is not None
        meaning = Quantization(1.0, x.quantization.zero_point)
        steps = reader.new_value(f"{x.name}.steps", x.shape, x.dtype, meaning)
        reader.emit(Reinterpret(), [x], [steps], group.nodes)
        centred.append(reader.new_value(f"{x.name}.centred", x.shape, "float32"))
        reader.emit(Dequantize(), [steps], centred[-1:], group.nodes)
    kind = BatchMatrixMultiply(alpha=float(group.multiplier[0]))
    reader.emit(kind, centred, [reader.value(group.result)], group.nodes)


def _emit_sum(reader: Reader, group: IntegerSum) -> None:
    a, b = (reader.stored(tensor) for tensor in group.inputs)
    assert a.quantization is not None
    assert b.quantization is not None
    if has_sixteen_bits(group):
        finish = _requantize(reader, group.requantization)
        emit_sixteen_bit_sum(reader, group, a, b, finish)
        return
    kind = QuantizedAdd(
        IntegerAdd(
            group.weights.weight_a,
            group.weights.weight_b,
            a.quantization.zero_point,
            b.quantization.zero_point,
            _requantize(reader, group.requantization),
        )
    )
    reader.emit(kind, [a, b], [reader.stored(group.quantized_output)], group.nodes)


def _emit_multiply(reader: Reader, group: IntegerMultiply) -> None:
    a, b = (reader.stored(tensor) for tensor in group.inputs)
    assert a.quantization is not None
    assert b.quantization is not None
    if has_sixteen_bits(group):
        finish = _requantize(reader, group.requantization)
        emit_sixteen_bit_multiply(reader, group, a, b, finish)
        return
    kind = QuantizedMultiply(
        a.quantization.zero_point,
        b.quantization.zero_point,
        _requantize(reader, group.requantization),
    )
    reader.emit(kind, [a, b], [reader.stored(group.quantized_output)], group.nodes)


def _emit_average(reader: Reader, group: IntegerAverage) -> None:
    x = reader.stored(group.inputs[0])
    assert x.quantization is not None
    requantize = _requantize(reader, group.requantization)
    output = reader.stored(group.quantized_output)
    if group.window is None:
        kind = Reduce(
            operator="ReduceMean",
            axes=tuple(sorted(group.axes)),
            keepdims=group.keep_dimensions,
            zero_x=x.quantization.zero_point,
            requantize=requantize,
        )
        reader.emit(kind, [x], [output], group.nodes)
        return
    pool = Pool(
        maximum=False,
        window=pair(group.window.kernel, 1),
        strides=pair(group.window.strides, 1),
        dilations=pair(group.window.dilations, 1),
        pads=image_pads(group.window),
        count_include_pad=True,
        zero_x=x.quantization.zero_point,
        requantize=requantize,
    )
    emit_on_image(reader, group.node, x, [], pool, group.nodes, output)


def _emit_maximum(reader: Reader, group: StoredMaximum) -> None:
    kind = Pool(
        maximum=True,
        window=pair(group.window.kernel, 1),
        strides=pair(group.window.strides, 1),
        dilations=pair(group.window.dilations, 1),
        pads=image_pads(group.window),
    )
    output = reader.stored(group.quantized_output)
    x = reader.stored(group.inputs[0])
    emit_on_image(reader, group.node, x, [], kind, group.nodes, output)


def _emit_move(reader: Reader, group: StoredMove) -> None:
    """The reader of the float operator moves the stored values; tables follow."""
    (source,) = (v for v in group.node.inputs[:1] if v is not None)
    x = reader.stored(group.inputs[0])
    substitutes = {source: x}
    tabled: list[tuple[Value, Value, AnyArray]] = []
    for declared, tensor, table in zip(
        group.node.outputs, group.outputs, group.tables, strict=True
    ):
        if tensor is None:
            shape = movement.shape_of(declared)
            substitutes[declared] = reader.new_value(f"{declared.name}.unused", shape, x.dtype)
            continue
        result = reader.stored(tensor)
        moved = result
        if table is not None:
            moved = reader.new_value(f"{result.name}.moved", result.shape, x.dtype)
            moved.quantization = x.quantization
            tabled.append((moved, result, _table(reader, table)))
        substitutes[declared] = moved
    with reader.substituted(substitutes):
        if group.node.op_type == "Pad":
            fill = group.fill + reader.storage_shift(group.inputs[0].affine)
            reason = padding.read_pad(reader, group.node, fill)
        else:
            tables = {**movement.TABLE, **resize.TABLE, **counting.TABLE}
            reason = tables[group.node.op_type](reader, group.node)
    assert not reason, f"{group.node.name}: {reason}"
    for moved, result, table in tabled:
        reader.emit(LookupTable(table), [moved], [result], group.nodes)


def _emit_concat(reader: Reader, group: StoredConcat) -> None:
    output = reader.stored(group.quantized_output)
    rank, position = len(output.shape), 0
    for tensor, table in zip(group.inputs, group.tables, strict=True):
        x = reader.stored(tensor)
        start = tuple(position if d == group.axis else 0 for d in range(rank))
        kind = StridedCopy(
            shape=x.shape,
            permutation=tuple(range(rank)),
            in_start=(0,) * rank,
            in_step=(1,) * rank,
            out_start=start,
            out_step=(1,) * rank,
            lookup=None if table is None else _table(reader, table),
        )
        reader.emit(kind, [x], [output], group.nodes)
        position += x.shape[group.axis]


def _emit_table(reader: Reader, group: StoredTable) -> None:
    kind = LookupTable(_table(reader, group.table))
    x = reader.stored(group.inputs[0])
    reader.emit(kind, [x], [reader.stored(group.quantized_output)], group.nodes)


def _requantize(reader: Reader, r: Requantization) -> Requantize:
    """The rule with its numbers in the target's storage dtype."""
    stored = reader.storage_dtype(r.dtype)
    shift = int(np.iinfo(stored).min) - int(np.iinfo(r.dtype).min)
    return Requantize(r.multiplier, r.zero_point + shift, r.low + shift, r.high + shift)


def _table(reader: Reader, table: AnyArray) -> AnyArray:
    """A table's results in the target's storage dtype; its order stays."""
    shift = int(np.iinfo(reader.activation_dtype).min) - int(np.iinfo(table.dtype).min)
    return (table.astype(np.int32) + shift).astype(reader.activation_dtype)


EMITTERS: dict[type[IntegerOperator], Callable[[Reader, Any], None]] = {
    IntegerProduct: _emit_product,
    ValueProduct: _emit_value_product,
    IntegerSum: _emit_sum,
    IntegerMultiply: _emit_multiply,
    IntegerAverage: _emit_average,
    StoredMaximum: _emit_maximum,
    StoredMove: _emit_move,
    StoredConcat: _emit_concat,
    StoredTable: _emit_table,
}


def read_quantize(reader: Reader, node: ir.Node) -> str:
    """A QuantizeLinear on the edge: float32 to 8 bits, per tensor, or any other."""
    affine = _edge_affine(node, node.outputs[0])
    x = reader.input(node, 0)
    if affine is None or x.dtype != "float32":
        return emit_quantize(reader, node)
    output = reader.stored(QuantizedTensor(node.outputs[0], affine))
    reader.emit(Quantize(), [x], [output], [node])
    return ""


def read_dequantize(reader: Reader, node: ir.Node) -> str:
    """A DequantizeLinear on the edge; one of a constant is computed now."""
    source = node.inputs[0]
    assert source is not None
    if is_constant(source) and (
        is_packed_weight(node) or is_narrow_weight(node) or is_int4_multiply(node)
    ):
        return ""  # its readers take the numbers as they are stored
    affine = _edge_affine(node, source)
    output = reader.value(node.outputs[0])
    if is_constant(source) or affine is None or output.dtype != "float32":
        return emit_dequantize(reader, node)
    x = reader.stored(QuantizedTensor(source, affine))
    reader.emit(Dequantize(), [x], [output], [node])
    return ""


def _edge_affine(node: ir.Node, stored: ir.Value) -> Affine | None:
    """Scale and zero point of an edge; None where there are none that an integer kernel takes."""
    scale = constant_array(node.inputs[1])
    if scale is None or scale.size != 1 or scale.dtype != np.float32:
        return None
    zero = optional_input(node, 2)
    contents = constant_array(zero)
    if zero is not None and contents is None:
        return None
    if stored.dtype not in (ir.DataType.UINT8, ir.DataType.INT8, ir.DataType.INT16):
        return None
    zero_point = 0 if contents is None else int(contents.reshape(-1)[0])
    if stored.dtype == ir.DataType.INT16 and zero_point != 0:
        return None
    return Affine(scale.reshape(-1)[0], zero_point, stored.dtype.numpy())


TABLE = {"QuantizeLinear": read_quantize, "DequantizeLinear": read_dequantize}
