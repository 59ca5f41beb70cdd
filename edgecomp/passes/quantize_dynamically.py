"""Quantize the activations of products while the model runs.

    MatMul(x, W)       =>  q, s, z = DynamicQuantizeLinear(x)
                           Cast(MatMulInteger(q, w8, z), to float) * (s * scales)
    Gemm(x, W, b)      =>  the same, + b

Weights are int8 with a scale per output, or int4 behind a Cast to int8, as MatMulInteger takes
bytes. Where groups of inputs have scales of their own, those are whole multiples of one per output,
and a DequantizeLinear with blocks makes whole numbers of int4 in front of the Cast. Products that read one value share its quantization. No ranges are needed, and no
calibration; each run reads its activations once more to find them.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array, new_initializer
from edgecomp.graph.edit import new_node, remove_unused, replace_node
from edgecomp.graph.names import unused_name
from edgecomp.graph.source import copy_source
from edgecomp.passes.outcome import Numerics, Outcome, finish

#: The first versions with DynamicQuantizeLinear and MatMulInteger, and with int4.
_LEAST_OPSET, _INT4_OPSET = 11, 21


@dataclasses.dataclass(frozen=True, eq=False)
class IntegerMatrix:
    """Weights of a product.

    Attributes:
        numbers: int8 or int4 [K, N].
        scales: float32 [N] or [1].
        multiples: float32 [blocks, N], whole numbers by which int4 of a block of K are multiplied;
            they stay within int8. None for no blocks.
    """

    numbers: AnyArray
    scales: AnyArray
    multiples: AnyArray | None = None

    def whole(self) -> AnyArray:
        """The numbers that products have, int8 [K, N]."""
        numbers = self.numbers.astype(np.int8)
        if self.multiples is None:
            return numbers
        spread = self.multiples.astype(np.int8).repeat(self.block, axis=0)
        return numbers * spread

    @property
    def block(self) -> int:
        """Elements of K that share a multiple."""
        assert self.multiples is not None
        return len(self.numbers) // len(self.multiples)


class QuantizeDynamicallyPass(ir.passes.InPlacePass):
    """Compute products in integers whose scales are those of the moment.

    Scope: main graph.  Numerics: quantized.

    Args:
        weights: name of a MatMul or Gemm -> its weights; those of one object become one
            initializer.
    """

    numerics = Numerics.QUANTIZED

    def __init__(self, weights: Mapping[str, IntegerMatrix]) -> None:
        super().__init__()
        self._weights = weights

    def requires(self, model: ir.Model) -> None:
        """Raise where the operator set lacks the operators, or int4 where weights are so."""
        few = any(each.numbers.dtype != np.int8 for each in self._weights.values())
        least = _INT4_OPSET if few else _LEAST_OPSET
        if model.opset_imports.get("", 0) < least:
            raise ir.passes.PreconditionError(f"{type(self).__name__} needs opset >= {least}")

    def call(self, model: ir.Model) -> Outcome:
        """Insert the nodes."""
        inserter = _Inserter(model.graph)
        applied = 0
        for node in list(model.graph):
            weights = self._weights.get(node.name or "")
            if weights is not None and node.op_type in ("MatMul", "Gemm"):
                inserter.insert(node, weights)
                applied += 1
        if applied:
            remove_unused(model)
        return finish(type(self).__name__, model, applied)


class _Inserter:
    """Rewrites one graph."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._quantized: dict[ir.Value, ir.Node] = {}
        self._stored: dict[int, tuple[ir.Value, ir.Value, ir.Value | None]] = {}

    def insert(self, node: ir.Node, weights: IntegerMatrix) -> None:
        """The chain in the place of a product."""
        x = node.inputs[0]
        assert x is not None
        quantize = self._quantize(x, node)
        q, scale, zero = quantize.outputs
        numbers, scales, multiples = self._constants(node, weights)
        shape, real = node.outputs[0].shape, ir.TensorType(ir.DataType.FLOAT)
        if multiples is not None:
            blocks: dict[str, object] = {"axis": 0, "block_size": weights.block}
            inputs = [numbers, multiples]
            whole = self._before(node, "DequantizeLinear", inputs, "whole", blocks)
            whole.type, whole.shape = real, numbers.shape
            numbers = whole
        if numbers.dtype != ir.DataType.INT8:
            cast = self._before(
                node, "Cast", [numbers], "weights", {"to": ir.DataType.INT8.value}
            )
            cast.type, cast.shape = ir.TensorType(ir.DataType.INT8), numbers.shape
            numbers = cast
        sums = self._before(node, "MatMulInteger", [q, numbers, zero], "sums")
        sums.type, sums.shape = ir.TensorType(ir.DataType.INT32), shape
        wide = self._before(node, "Cast", [sums], "real", {"to": ir.DataType.FLOAT.value})
        wide.type, wide.shape = real, shape
        unit = self._before(node, "Mul", [scale, scales], "unit")
        unit.type, unit.shape = real, scales.shape
        bias = _bias(node, weights.numbers.shape[1])
        last = ("Mul", [wide, unit])
        if bias is not None:
            product = self._before(node, *last, "product")
            product.type, product.shape = real, shape
            last = ("Add", [product, new_initializer(self._graph, f"{node.name}_bias", bias)])
        name = node.name
        new = new_node(self._graph, *last, like=node)
        replace_node(node, new)
        new.name = name

    def _quantize(self, x: ir.Value, node: ir.Node) -> ir.Node:
        """The quantization of a value, once for all that read it."""
        known = self._quantized.get(x)
        if known is not None:
            return known
        new = ir.node("DynamicQuantizeLinear", [x], num_outputs=3)
        new.name = f"{node.name}_DynamicQuantizeLinear"
        for value, what, dtype, shape in zip(
            new.outputs,
            ("quantized", "scale", "zero_point"),
            (ir.DataType.UINT8, ir.DataType.FLOAT, ir.DataType.UINT8),
            (x.shape, ir.Shape([]), ir.Shape([])),
            strict=True,
        ):
            value.name = unused_name(self._graph, f"{x.name}_{what}")
            value.type, value.shape = ir.TensorType(dtype), shape
        copy_source(node, new)
        producer = x.producer()
        if producer is None:
            node.prepend(new)
        else:
            producer.append(new)
        self._quantized[x] = new
        return new

    def _constants(
        self, node: ir.Node, weights: IntegerMatrix
    ) -> tuple[ir.Value, ir.Value, ir.Value | None]:
        known = self._stored.get(id(weights))
        if known is None:
            known = (
                new_initializer(self._graph, f"{node.name}_quantized", weights.numbers),
                new_initializer(self._graph, f"{node.name}_scale", weights.scales),
                None
                if weights.multiples is None
                else new_initializer(self._graph, f"{node.name}_multiples", weights.multiples),
            )
            self._stored[id(weights)] = known
        return known

    def _before(
        self,
        node: ir.Node,
        operator: str,
        inputs: list[ir.Value],
        what: str,
        attributes: dict[str, object] | None = None,
    ) -> ir.Value:
        """The result of a new node in front of another."""
        new = new_node(
            self._graph,
            operator,
            inputs,
            like=node,
            attributes=attributes,
            output=unused_name(self._graph, f"{node.name}_{what}"),
        )
        new.name = f"{node.name}_{what}_{operator}"
        node.prepend(new)
        return new.outputs[0]


def _bias(node: ir.Node, columns: int) -> AnyArray | None:
    """What a Gemm adds: float32 [N]."""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    array = constant_array(value)
    if node.op_type != "Gemm" or array is None:
        return None
    beta = np.float32(node.attributes.get_float("beta", 1.0))
    return np.broadcast_to(beta * array.reshape(-1), (columns,)).astype(np.float32)
