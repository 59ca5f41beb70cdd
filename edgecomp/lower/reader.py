"""Read an ONNX graph into a program: values, constants, one list of operations."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.constants import compact, constant_array
from edgecomp.graph.dequantized import dequantized
from edgecomp.graph.integer import Affine
from edgecomp.graph.integer_operators import QuantizedTensor
from edgecomp.graph.narrow_weights import narrow_weights, widened
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.source import source_of
from edgecomp.plan.elementwise import LookupTable
from edgecomp.plan.operations import Kind, Operation, Program
from edgecomp.plan.values import Array, Quantization, Value

ReadNodes = Callable[["Reader", ir.Graph], None]


def _read_nothing(_: "Reader", graph: ir.Graph) -> None:
    raise AssertionError(f"nothing reads the graphs inside nodes: {graph.name}")


class Reader:
    """State while nodes become operations.

    Attributes:
        program: what was read so far.
        activation_dtype: how the target stores 8-bit activations (uint8 or int8). A stored
            value of the other dtype is moved by 128 when it comes in and goes out; in between
            all zero points are in the target's range. 16-bit activations are int16 everywhere.
    """

    def __init__(
        self, name: str, activation_dtype: str, read_nodes: ReadNodes = _read_nothing
    ) -> None:
        self.program = Program(name, [], [], [])
        self.activation_dtype = activation_dtype
        self.read_nodes = read_nodes
        self._values: dict[ir.Value, Value] = {}
        self._stored: dict[ir.Value, Value] = {}
        self._other_meanings: dict[tuple[Value, Quantization], Value] = {}
        self._names: set[str] = set()

    def for_body(self) -> "Reader":
        """A reader for a graph inside a node, whose names differ from this one's."""
        inner = Reader(self.program.name, self.activation_dtype, self.read_nodes)
        inner._names = self._names
        return inner

    def value(self, source: ir.Value) -> Value:
        """The program's value of an ONNX value: made at first sight, constants with contents."""
        known = self._values.get(source)
        if known is not None:
            return known
        stored = self._stored.get(source)
        if stored is not None:
            return self._declared(source, stored)
        shape, dtype = static_type(source)
        known = self.new_value(source.name or "value", shape, dtype)
        known.constant = constant_array(source)
        if known.constant is None:
            known.constant = widened(source)
        self._values[source] = known
        return known

    def bind(self, source: ir.Value, value: Value) -> None:
        """Let an ONNX value that has not been seen stand for a value of the program."""
        self._values[source] = value

    def input(self, node: ir.Node, index: int) -> Value:
        """The value of an input that the operator requires."""
        source = node.inputs[index]
        assert source is not None, f"{node.op_type} without input {index}"
        return self.value(source)

    def stored(self, tensor: QuantizedTensor) -> Value:
        """The value of a quantized tensor in the target's storage dtype."""
        source = tensor.value
        known = self._stored.get(source)
        if known is not None and known.quantization != self.quantization(tensor.affine):
            return self._restated(known, tensor)
        if known is None:
            name = source.name or "value"
            meaning = self.quantization(tensor.affine)
            dtype = self.storage_dtype(tensor.affine.dtype)
            known = self.new_value(name, tensor.shape, dtype.name, meaning)
            self._stored[source] = known
            if tensor.constant is not None:
                moved = tensor.constant.astype(np.int32) + self.storage_shift(tensor.affine)
                known.constant = moved.astype(dtype)
            elif source in self._values:
                self._move(self._values[source], known, source)
        return known

    def _restated(self, known: Value, tensor: QuantizedTensor) -> Value:
        """The same numbers with another meaning: nothing makes a model read what it wrote."""
        meaning = self.quantization(tensor.affine)
        key = (known, meaning)
        if key not in self._other_meanings:
            copy = self.new_value(f"{known.name}.restated", known.shape, known.dtype, meaning)
            copy.constant = known.constant
            if known.constant is None:
                self._move(known, copy, tensor.value)
            self._other_meanings[key] = copy
        return self._other_meanings[key]

    def storage_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """How the target stores activations that the model has in a dtype."""
        return dtype if dtype.itemsize > 1 else np.dtype(self.activation_dtype)

    def storage_shift(self, affine: Affine) -> int:
        """What storage adds to the stored numbers of the model: 0, 128 or -128."""
        return int(np.iinfo(self.storage_dtype(affine.dtype)).min) - affine.lowest

    def quantization(self, affine: Affine) -> Quantization:
        """Scale and zero point of a value in the target's storage dtype."""
        zero_point = affine.zero_point + self.storage_shift(affine)
        return Quantization(float(affine.scale), zero_point)

    def _declared(self, source: ir.Value, stored: Value) -> Value:
        """A stored value in the dtype that the model declares."""
        shape, dtype = static_type(source)
        if dtype == stored.dtype:
            self._values[source] = stored
            return stored
        known = self.new_value(f"{source.name}.{dtype}", shape, dtype)
        self._values[source] = known
        self._move(stored, known, source)
        return known

    def _move(self, x: Value, y: Value, source: ir.Value) -> None:
        """Copy between the two 8-bit dtypes: the k-th least number stays the k-th least."""
        least = int(np.iinfo(y.dtype).min)
        table = np.arange(least, least + 256).astype(y.dtype)
        node = source.producer()
        self.emit(LookupTable(table), [x], [y], [node] if node else [])

    @contextlib.contextmanager
    def substituted(self, values: dict[ir.Value, Value]) -> Iterator[None]:
        """Within the block, ``value`` answers with these."""
        before = {source: self._values.get(source) for source in values}
        self._values.update(values)
        try:
            yield
        finally:
            for source, known in before.items():
                if known is None:
                    del self._values[source]
                else:
                    self._values[source] = known

    def new_value(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        quantization: Quantization | None = None,
    ) -> Value:
        """Make a value under a name that is free."""
        unique, count = name, 1
        while unique in self._names:
            unique, count = f"{name}.{count}", count + 1
        self._names.add(unique)
        return Value(unique, tuple(shape), dtype, quantization=quantization)

    def new_constant(self, name: str, contents: Array) -> Value:
        """Make a constant value."""
        value = self.new_value(name, contents.shape, contents.dtype.name)
        value.constant = compact(np.atleast_1d(contents))
        return value

    def emit(
        self,
        kind: Kind,
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        nodes: Sequence[ir.Node],
    ) -> None:
        """Append an operation that stands for ``nodes``."""
        sources = [source_of(node) for node in nodes]
        self.program.operations.append(
            Operation(
                kind,
                list(inputs),
                list(outputs),
                tuple(node.name or node.op_type for node in nodes),
                next((s for s in sources if s), ""),
            )
        )


def static_type(value: ir.Value) -> tuple[tuple[int, ...], str]:
    """Shape and numpy dtype name of a value; an error where either is not known."""
    shape = static_shape(value)
    if shape is None or value.dtype is None:
        node = value.producer()
        raise EdgecompError(
            Code.DIMENSION_FREE,
            f"shape of '{value.name}' is not known at build time: {value.shape}",
            node=node.name or "" if node else "",
            source=source_of(node) if node else "",
            hint="give every free dimension with --input name:1x3x224x224",
        )
    return shape, value.dtype.numpy().name


def attribute_int(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def attribute_float(node: ir.Node, name: str, default: float) -> float:
    """A float attribute."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_float()


def attribute_ints(node: ir.Node, name: str, default: Sequence[int]) -> tuple[int, ...]:
    """A list attribute."""
    attribute = node.attributes.get(name)
    return tuple(default if attribute is None else attribute.as_ints())


def attribute_string(node: ir.Node, name: str, default: str) -> str:
    """A string attribute."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_string()


def optional_input(node: ir.Node, index: int) -> ir.Value | None:
    """An input that may be absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def constant_input(node: ir.Node, index: int) -> Array | None:
    """Contents of a constant input, None where it is absent or computed at run time.

    A dequantized constant counts, for what computes in float with quantized weights, and so does
    one of 16 bits that is widened.
    """
    value = optional_input(node, index)
    for contents in (constant_array, dequantized, widened):
        array = contents(value)
        if array is not None:
            return array
    return None


def weights_input(node: ir.Node) -> tuple[Array | None, Array | None]:
    """Weights of a product in the type that the model keeps, and the outputs' scales.

    Without such they are those of ``constant_input``, and None.
    """
    narrow = narrow_weights(node)
    if narrow is None:
        return constant_input(node, 1), None
    return narrow.numbers, narrow.scale


def normalize_axis(axis: int, rank: int) -> int:
    """A negative axis counted from the end."""
    return axis + rank if axis < 0 else axis
