"""Insert QuantizeLinear and DequantizeLinear, so that a float model becomes a quantized one.

    x -> Conv(w, b) -> Relu -> y
      becomes
    x -> Q -> DQ -> Conv(DQ(w8), DQ(b32)) -> Relu -> Q -> DQ -> y

Activations are uint8 with one scale and zero point per tensor, weights int8 with one scale per
output channel, biases int32 with scale ``s_x * s_w`` (docs/numerics.md). Of a product of two values
the second has its zero in the middle, and a softmax in front of the first gives its division away
(relative_softmax.py). Relu and Clip after an
operator become bounds of its stored result. Operators that only move values share scale and
zero point on both sides, as do all inputs and the output of a Concat. Every DequantizeLinear
has one reader, so that any runtime recognizes the operators. The last product before the end
keeps its float result.

Layers may have 16-bit weights, and read 16-bit activations, both symmetric. A value that layers
of both kinds read is stored in 16 bits for all of them. Biases beside 16-bit weights stay float:
int32 would not hold them.

Not quantized: what ``passes.quantization_scope`` refuses, with its reason.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from edgecomp.calibrate.qspaces import (
    LARGEST_BIAS,
    QuantizationSpace,
    store_bias,
    store_constant,
    store_weights,
    weight_scales,
    weight_space,
)
from edgecomp.calibrate.ranges import Range
from edgecomp.graph.constants import AnyArray, constant_array, is_constant
from edgecomp.graph.edit import remove_unused
from edgecomp.graph.grouped_scales import common_unit
from edgecomp.graph.integer import Affine
from edgecomp.graph.packed_weights import PackedWeights, is_turned
from edgecomp.graph.source import copy_source
from edgecomp.passes.activation_affines import affines_of
from edgecomp.passes.outcome import Numerics, Outcome, finish
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.quantization_scope import Block, Scope, decide_scope, weight_channel_axis
from edgecomp.passes.relative_softmax import relate_weights

#: The first version whose QuantizeLinear has an axis.
_LEAST_OPSET = 13
_BYTE_BITS = 8


class InsertQdqPass(ir.passes.InPlacePass):
    """Quantize a float model to 8 bits, or some layers to 16, with given ranges.

    Scope: main graph. A model that has QuantizeLinear or DequantizeLinear nodes already is left
    as it is.  Numerics: quantized.

    Args:
        ranges: value name -> range, as ``calibrate.observe.collect_ranges`` returns them.
        options: what is quantized, and how.

    Attributes:
        refusals: after a run, node name -> why an operator with an integer form stays float.
        ungrouped: after a run, node name -> why weights that were rounded with scales of groups
            have one scale per output.
    """

    numerics = Numerics.QUANTIZED

    def __init__(
        self, ranges: Mapping[str, Range], options: InsertQdqOptions | None = None
    ) -> None:
        super().__init__()
        self._ranges = ranges
        self._options = options or InsertQdqOptions()
        self.refusals: dict[str, str] = {}
        self.ungrouped: dict[str, str] = {}

    def requires(self, model: ir.Model) -> None:
        """Raise where the operator set lacks per-channel QuantizeLinear."""
        if model.opset_imports.get("", 0) < _LEAST_OPSET:
            raise ir.passes.PreconditionError(f"InsertQdqPass needs opset >= {_LEAST_OPSET}")

    def call(self, model: ir.Model) -> Outcome:
        """Insert the nodes."""
        if any(n.op_type in ("QuantizeLinear", "DequantizeLinear") for n in model.graph):
            return finish(type(self).__name__, model, 0)
        scope = self.scope_of(model.graph)
        self.refusals = {refusal.node: refusal.reason for refusal in scope.refusals}
        if scope.blocks:
            affines = affines_of(scope, self._ranges, self._options)
            inserter = _Inserter(model.graph, scope, affines, self._options)
            inserter.insert()
            self.ungrouped = inserter.ungrouped
            relate_weights(model, [b.node for b in scope.blocks if b.is_value_product])
            remove_unused(model)
        return finish(type(self).__name__, model, len(scope.blocks), list(scope.refusals))

    def scope_of(self, graph: ir.Graph) -> Scope:
        """What would become integer."""
        return decide_scope(graph, self._options, self._range_refusal)

    def _range_refusal(self, value: ir.Value) -> str:
        array = constant_array(value)
        if array is not None:
            return (
                "" if np.isfinite(array).all() else f"the constant {value.name} is not finite"
            )
        found = self._ranges.get(value.name or "")
        if found is None:
            return f"the range of {value.name} was not observed"
        return "" if found.finite else f"{value.name} became infinite or NaN while calibrating"


@dataclasses.dataclass(frozen=True, eq=False)
class _Stored:
    """A stored tensor in the graph: what DequantizeLinear nodes read."""

    value: ir.Value
    scale: ir.Value
    zero_point: ir.Value | None
    axis: int | None = None
    block: int = 0


class _Inserter:
    """Rewrites one graph."""

    def __init__(
        self,
        graph: ir.Graph,
        scope: Scope,
        affines: Mapping[ir.Value, Affine],
        options: InsertQdqOptions,
    ) -> None:
        self._graph = graph
        self._scope = scope
        self._affines = affines
        self._options = options
        self._names = _Names(graph)
        self._parameters: dict[Affine, tuple[ir.Value, ir.Value]] = {}
        self._stored: dict[ir.Value, _Stored] = {}
        self.ungrouped: dict[str, str] = {}

    def insert(self) -> None:
        """Do it."""
        made = {v for block in self._scope.blocks for v in block.outputs}
        reads = {place for block in self._scope.blocks for place in block.reads}
        for block in self._scope.blocks:
            if block.is_product:
                self._insert_weights(block)
        for value in self._scope.stored:
            stored = self._store(value)
            for use in tuple(value.uses()):
                if use.node is stored.value.producer():
                    continue
                if (use.node, use.idx) in reads or value in made:
                    self._read(stored, use.node, use.idx, value)
            if value.is_graph_output() and value in made:
                self._give_out(stored, value)

    def _store(self, value: ir.Value) -> _Stored:
        """The value in 8 or 16 bits: a constant, or the result of a new QuantizeLinear."""
        affine = self._affines[value]
        scale, zero_point = self._affine_constants(affine, value.name or "")
        array = constant_array(value)
        name = self._names.free(f"{value.name}_quantized")
        if array is not None:
            stored = self._initializer(name, store_constant(array, affine))
            return _Stored(stored, scale, zero_point)
        node = ir.node(
            "QuantizeLinear",
            inputs=[value, scale, zero_point],
            outputs=[ir.Value(name=name, shape=value.shape, type=_tensor_type(affine.dtype))],
            name=self._names.free(f"{value.name}_QuantizeLinear"),
        )
        producer = value.producer()
        readers = [use.node for use in value.uses()]
        copy_source(([] if producer is None else [producer]) + readers, node)
        if producer is None:
            self._graph.insert_before(self._graph[0], node)
        else:
            producer.append(node)
        return _Stored(node.outputs[0], scale, zero_point)

    def _read(self, stored: _Stored, reader: ir.Node, index: int, value: ir.Value) -> None:
        """Let one input of a node read the stored tensor through its own DequantizeLinear."""
        node = self._dequantize(stored, value)
        copy_source(reader, node)
        if reader.graph is self._graph:
            reader.prepend(node)
        else:  # a node of a subgraph
            producer = stored.value.producer()
            assert producer is not None
            producer.append(node)
        reader.replace_input_with(index, node.outputs[0])

    def _give_out(self, stored: _Stored, value: ir.Value) -> None:
        """Make the stored tensor, or its dequantized form, the graph output of that name."""
        name, producer = value.name, stored.value.producer()
        assert name is not None
        assert producer is not None
        value.name = self._names.free(f"{name}_float")
        result = stored.value
        if not self._options.quantize_outputs:
            node = self._dequantize(stored, value)
            copy_source(producer, node)
            self._graph.append(node)
            result = node.outputs[0]
        result.name = name
        for index, output in enumerate(self._graph.outputs):
            if output is value:
                self._graph.outputs[index] = result

    def _dequantize(self, stored: _Stored, value: ir.Value) -> ir.Node:
        """A DequantizeLinear for one reader; ``value`` is the float value it stands for."""
        inputs = [stored.value, stored.scale]
        inputs += [] if stored.zero_point is None else [stored.zero_point]
        attributes = {} if stored.axis is None else {"axis": stored.axis}
        attributes |= {"block_size": stored.block} if stored.block else {}
        name = self._names.free(f"{value.name}_dequantized")
        return ir.node(
            "DequantizeLinear",
            inputs=inputs,
            attributes=attributes,
            outputs=[ir.Value(name=name, shape=stored.value.shape, type=value.type)],
            name=self._names.free(f"{value.name}_DequantizeLinear"),
        )

    def _insert_weights(self, block: Block) -> None:
        """Store a product's weights and bias."""
        node = block.node
        value = node.inputs[1]
        weight = constant_array(value)
        assert value is not None
        assert weight is not None
        axis = weight_channel_axis(node)
        bits = self._options.weight_bits(node)
        holder, index = _bias_place(block)
        if bits > _BYTE_BITS:
            holder = None
        bias_value = None if holder is None else holder.inputs[index]
        bias = constant_array(bias_value)
        if bias is not None:
            bias = np.broadcast_to(bias.reshape(-1), (weight.shape[axis],))
        activation = self._affines[block.input_values[0]]
        grouped = self._options.grouped.get(node.name or "")
        if grouped is not None:
            unit = _unit_of(grouped, bias, activation.scale)
            if not isinstance(unit, str):
                self._read(self._grouped_tensor(value, node, grouped), node, 1, value)
                self._insert_bias(block, bias, activation, unit)
                return
            self.ungrouped[node.name or ""] = unit
        space = weight_space(
            per_channel=self._options.is_per_channel(node),
            bits=bits,
        )
        scales = weight_scales(
            weight, axis, space, bias=bias, activation_scale=activation.scale
        )
        stored = self._weight_tensor(value, weight, scales, axis, space)
        self._read(stored, node, 1, value)
        self._insert_bias(block, bias, activation, scales)

    def _insert_bias(
        self, block: Block, bias: AnyArray | None, activation: Affine, scales: AnyArray
    ) -> None:
        """Store a product's bias [channels] in units of its sums."""
        holder, index = _bias_place(block)
        bias_value = None if holder is None else holder.inputs[index]
        if bias is None or holder is None or bias_value is None:
            return
        shape = constant_array(bias_value).shape  # type: ignore[union-attr]
        numbers = store_bias(bias, activation.scale, scales)
        # One number for all channels becomes one per channel.
        numbers = numbers.reshape(shape if np.prod(shape) == numbers.size else -1)
        scale = (activation.scale * scales).astype(np.float32)
        self._read(self._bias_tensor(bias_value, numbers, scale), holder, index, bias_value)

    def _weight_tensor(
        self,
        value: ir.Value,
        weight: AnyArray,
        scales: AnyArray,
        axis: int,
        space: QuantizationSpace,
    ) -> _Stored:
        """Weights in few bits, once where several products share them with the same scales."""
        known = self._stored.get(value)
        numbers = store_weights(weight, scales, axis, space)
        same = known is not None and known.value.dtype == ir.DataType.from_numpy(space.dtype)
        if known is not None and same and _equal(known.scale, scales):
            if known.axis in (axis, None):
                return known
        scale, zeros = _per_channel(scales), np.zeros_like(_per_channel(scales), space.dtype)
        stored = _Stored(
            self._initializer(self._names.free(f"{value.name}_quantized"), numbers),
            self._initializer(self._names.free(f"{value.name}_scale"), scale),
            self._initializer(self._names.free(f"{value.name}_zero_point"), zeros),
            axis if scale.ndim else None,
        )
        self._stored[value] = stored
        return stored

    def _grouped_tensor(
        self, value: ir.Value, node: ir.Node, weights: PackedWeights
    ) -> _Stored:
        """4-bit weights with scales of groups."""
        numbers = (weights.numbers.astype(np.int8) - 8).astype(ml_dtypes.int4)
        scales, axis = weights.scales, 0
        if is_turned(node):
            numbers, scales, axis = numbers.T, scales.T, 1
        zeros = np.zeros(scales.shape, ml_dtypes.int4)
        return _Stored(
            self._initializer(self._names.free(f"{value.name}_quantized"), numbers),
            self._initializer(self._names.free(f"{value.name}_scale"), scales),
            self._initializer(self._names.free(f"{value.name}_zero_point"), zeros),
            axis,
            weights.block,
        )

    def _bias_tensor(self, value: ir.Value, numbers: AnyArray, scale: AnyArray) -> _Stored:
        per_channel = _per_channel(scale)
        return _Stored(
            self._initializer(self._names.free(f"{value.name}_quantized"), numbers),
            self._initializer(self._names.free(f"{value.name}_scale"), per_channel),
            None,
            numbers.ndim - 1 if per_channel.ndim else None,
        )

    def _affine_constants(self, affine: Affine, name: str) -> tuple[ir.Value, ir.Value]:
        known = self._parameters.get(affine)
        if known is None:
            zero_point = np.array(affine.zero_point, affine.dtype)
            known = (
                self._initializer(self._names.free(f"{name}_scale"), np.array(affine.scale)),
                self._initializer(self._names.free(f"{name}_zero_point"), zero_point),
            )
            self._parameters[affine] = known
        return known

    def _initializer(self, name: str, array: AnyArray) -> ir.Value:
        tensor = ir.Tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)
        value = ir.Value(
            name=name,
            shape=ir.Shape(array.shape),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        self._graph.register_initializer(value)
        return value


class _Names:
    """Names of values and nodes that are not taken."""

    def __init__(self, graph: ir.Graph) -> None:
        self._taken = set(graph.initializers)
        self._taken.update(value.name for value in graph.inputs if value.name)
        for node in ir.traversal.RecursiveGraphIterator(graph):
            self._taken.update(_given([node.name, *(v.name for v in node.outputs)]))

    def free(self, name: str) -> str:
        """``name``, or ``name_1``, ``name_2`` ... where it is taken; taken from now on."""
        candidate, count = name, 0
        while candidate in self._taken:
            count += 1
            candidate = f"{name}_{count}"
        self._taken.add(candidate)
        return candidate


def _given(names: Iterable[str | None]) -> set[str]:
    return {name for name in names if name}


def _bias_place(block: Block) -> tuple[ir.Node, int] | tuple[None, int]:
    """The node that reads the block's bias and the index of that input."""
    if block.add is not None:
        return block.add, 0 if is_constant(block.add.inputs[0]) else 1
    node = block.node
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        return node, 2
    return None, 0


def _unit_of(
    weights: PackedWeights, bias: AnyArray | None, activation_scale: np.float32
) -> AnyArray | str:
    """The scale of each output that those of its groups are multiples of, or why there is none."""
    found = common_unit(weights.scales)
    if found is None:
        return "the scales of its groups are too far apart to be multiples of one"
    unit = found[0]
    if bias is None:
        return unit
    reach = np.abs(bias.astype(np.float64)) / (np.float64(activation_scale) * unit)
    if (reach <= LARGEST_BIAS).all():
        return unit
    return (
        f"its bias is up to {reach.max():.2g} steps of its sums, and int32 has room for "
        f"{LARGEST_BIAS:.2g} beside them"
    )


def _per_channel(scales: AnyArray) -> AnyArray:
    """One scale as a scalar, several as they are: DequantizeLinear tells them apart by rank."""
    return scales.reshape(()) if scales.size == 1 else scales


def _equal(value: ir.Value, array: AnyArray) -> bool:
    known = constant_array(value)
    return known is not None and np.array_equal(known.reshape(-1), array.reshape(-1))


def _tensor_type(dtype: np.dtype[Any]) -> ir.TensorType:
    return ir.TensorType(ir.DataType.from_numpy(dtype))
