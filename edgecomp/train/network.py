"""A portable model as a torch module: its weights, scales and zero points are parameters.

QuantizeLinear and DequantizeLinear round as they do in every runtime, with gradients
(``train.quantizer``); everything between them is computed in float32. So what is trained is the
file that is built.

    stored constant -> DequantizeLinear     real weights w, rounded in every run: restore(store(w))
    int32 bias                              real b, in units of s_x * s_w of the moment
    batch normalization                     frozen: by its statistics
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.integer_rules import PRODUCTS
from edgecomp.graph.match import is_operator
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.source import source_of
from edgecomp.train.operators.arguments import TYPES, Function
from edgecomp.train.operators.table import function_of
from edgecomp.train.quantizer import BiasQuantizer, Quantizer
from edgecomp.train.quantizers import (
    Place,
    factors_of,
    groups_of,
    is_quantize,
    place_of,
)
from edgecomp.train.refusal import Unsupported

#: Operators whose float constants are trained: the index of each such input.
_WEIGHTS = {
    **dict.fromkeys((*PRODUCTS, "ConvTranspose"), (0, 1, 2)),
    **dict.fromkeys(("InstanceNormalization", "LayerNormalization", "PRelu"), (1, 2)),
    "Gather": (0,),
}
_MOST_REFUSALS = 20
#: Stored numbers of weights are -127..127, where the file has no -128.
_NARROW = -127


class Network(torch.nn.Module):  # type: ignore[misc]
    """A model to train.

    Inputs are tensors in the order of the graph's, float or whole as there. Where each input of
    the graph has a first dimension of 1, a batch of any size may stand there; results then have
    it too. Otherwise shapes are the graph's.

    Args:
        model: quantized or float, of static shapes, as ``edgecomp.quantize`` returns it; not
            changed.

    Attributes:
        model: a copy of it, untrained.
        weights: trained constants, as real numbers.
        quantizers: what is learned of Quantize and Dequantize nodes.

    Raises:
        EdgecompError: OPERATOR_UNSUPPORTED listing every node that cannot be trained through.
    """

    def __init__(self, model: ir.Model) -> None:
        super().__init__()
        self.model = model.clone()
        graph = self.model.graph
        functions = _functions(graph)
        places = [place for place in functions.values() if isinstance(place, Place)]
        #: By node, for who writes what was learned.
        self.quantizer_of, self.place_of = _quantizers(places)
        self.quantizers = torch.nn.ModuleList(dict.fromkeys(self.quantizer_of.values()))
        #: Trained initializers, in the order of ``weights``.
        self.trained = _trained(graph, self.place_of)
        self.weights = torch.nn.ParameterList(
            torch.nn.Parameter(self._real(value)) for value in self.trained
        )
        learned = set(self.trained)
        self._fixed = [value for value in _constants(graph) if value not in learned]
        for index, value in enumerate(self._fixed):
            array = constant_array(value)
            self.register_buffer(f"constant_{index}", _tensor(array), persistent=False)
        self._steps = list(functions.items())
        self._rounding = {node for node in self.place_of if self._only_rounds(node)}
        self._batched = _has_batch(graph)

    def forward(self, *inputs: Any) -> Any:
        """Outputs in graph order: one tensor, or a tuple of them."""
        tensors = self.fitting(inputs)
        # Rounded once for all samples of a batch.
        constants = self._constants()
        if not self._batched or all(each.shape[0] == 1 for each in tensors):
            outputs = self._run(constants, *tensors)
        else:
            outputs = self._run_batch(constants, tensors)
        return outputs[0] if len(outputs) == 1 else outputs

    def fitting(self, inputs: Sequence[Any]) -> list[torch.Tensor]:
        """Inputs as tensors of the types that the graph has; uint8 and float64 become float32.

        Raises:
            EdgecompError: INPUT_MISMATCH where their number, a shape or a type does not fit.
        """
        values = self.model.graph.inputs
        if len(inputs) != len(values):
            raise EdgecompError(
                Code.INPUT_MISMATCH,
                f"the model has {len(values)} inputs, {len(inputs)} are given",
                hint="give them in the order of the graph's inputs",
            )
        tensors = [_tensor(each) for each in inputs]
        batch = tensors[0].shape[:1] if self._batched else ()
        return [_fitting(*pair, tuple(batch)) for pair in zip(values, tensors, strict=True)]

    def step_parameters(self) -> list[torch.nn.Parameter]:
        """Growths of scales and shifts of zero points: shares of where they began."""
        found = self.quantizers.parameters()
        return [each for each in found if each.requires_grad]

    def stored(self, value: ir.Value) -> AnyArray:
        """Contents of a trained initializer, as its file has them."""
        weight = self.weights[self.trained.index(value)]
        with torch.no_grad():
            reader = _dequantizer(value, self.place_of)
            if reader is not None:
                weight = self._store(reader, weight)
        assert value.dtype is not None
        array: AnyArray = weight.detach().cpu().numpy().astype(value.dtype.numpy())
        return array

    def _run_batch(
        self, constants: Mapping[ir.Value, torch.Tensor], tensors: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, ...]:
        outputs = torch.vmap(lambda *each: self._run(constants, *each))(
            *(tensor.unsqueeze(1) for tensor in tensors)
        )
        return tuple(
            each.squeeze(1) if each.ndim > 1 and each.shape[1] == 1 else each
            for each in outputs
        )

    def _constants(self) -> dict[ir.Value, torch.Tensor]:
        """Everything that does not depend on the inputs, by value."""
        found: dict[ir.Value, torch.Tensor] = {
            value: getattr(self, f"constant_{index}")
            for index, value in enumerate(self._fixed)
        }
        for value, weight in zip(self.trained, self.weights, strict=True):
            reader = _dequantizer(value, self.place_of)
            if reader is None:
                found[value] = weight
                continue
            real = self._restore(reader, self._store(reader, weight))
            for use in value.uses():
                found[use.node.outputs[0]] = real
        return found

    def _run(
        self, constants: Mapping[ir.Value, torch.Tensor], *inputs: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        known: dict[ir.Value, Any] = dict(constants)
        known.update(zip(self.model.graph.inputs, inputs, strict=True))
        restored: dict[tuple[ir.Value, torch.nn.Module], torch.Tensor] = {}
        for node, what in self._steps:
            if node.outputs[0] in known:
                continue
            if not isinstance(what, Place):
                given = [None if value is None else known[value] for value in node.inputs]
                results = what(*given)
                tensors = results if isinstance(results, tuple | list) else (results,)
                known.update(zip(node.outputs, tensors, strict=False))
                continue
            value = node.inputs[0]
            assert value is not None
            if node in self._rounding:
                key = (node.outputs[0], self.quantizer_of[node])
                restored[key] = self.quantizer_of[node].round(known[value])
                continue
            if node.op_type == "QuantizeLinear":
                known[node.outputs[0]] = self._store(node, known[value])
                continue
            key = (value, self.quantizer_of[node])
            if key not in restored:
                restored[key] = self._restore(node, known[value])
            known[node.outputs[0]] = restored[key]
        return tuple(known[value] for value in self.model.graph.outputs)

    def _only_rounds(self, node: ir.Node) -> bool:
        """Whether a QuantizeLinear's numbers are only read as real ones, by the same scale."""
        result, quantizer = node.outputs[0], self.quantizer_of[node]
        return (
            node.op_type == "QuantizeLinear"
            and self.place_of[node].axis is None
            and not result.is_graph_output()
            and all(self.quantizer_of.get(use.node) is quantizer for use in result.uses())
        )

    def _store(self, node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        place, quantizer = self.place_of[node], self.quantizer_of[node]
        if isinstance(quantizer, BiasQuantizer):
            return quantizer.store(x, place.axis)
        return quantizer.store(x, place.axis, place.block)

    def _restore(self, node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        place, quantizer = self.place_of[node], self.quantizer_of[node]
        if isinstance(quantizer, BiasQuantizer):
            return quantizer.restore(x, place.axis)
        return quantizer.restore(x, place.axis, place.block)

    def _real(self, value: ir.Value) -> torch.Tensor:
        stored = constant_array(value)
        assert stored is not None
        tensor = torch.from_numpy(stored.astype(np.float32))
        reader = _dequantizer(value, self.place_of)
        if reader is None:
            return tensor
        with torch.no_grad():
            # In float64 for biases, whose numbers may have more digits than float32.
            if stored.dtype == np.int32:
                tensor = torch.from_numpy(stored.astype(np.float64))
            return self._restore(reader, tensor).float()


def _functions(graph: ir.Graph) -> dict[ir.Node, Function | Place]:
    """What each node computes, in execution order."""
    found: dict[ir.Node, Function | Place] = {}
    refused: dict[ir.Node, str] = {}
    for node in graph:
        if node.op_type == "Constant":
            continue
        try:
            found[node] = place_of(node) if is_quantize(node) else function_of(node)
        except Unsupported as reason:
            refused[node] = str(reason)
    if refused:
        raise _unsupported(refused)
    return found


def _unsupported(refused: Mapping[ir.Node, str]) -> EdgecompError:
    lines = [f"{node.name}: {reason}" for node, reason in refused.items()]
    if len(lines) > _MOST_REFUSALS:
        lines[_MOST_REFUSALS:] = [f"and {len(lines) - _MOST_REFUSALS} more"]
    first = next(iter(refused))
    return EdgecompError(
        Code.OPERATOR_UNSUPPORTED,
        f"the model cannot be trained through {len(refused)} of its nodes\n"
        + "\n".join(lines),
        node=first.name or "",
        source=source_of(first),
        hint="give the part of the model in front of them, or write them by other operators",
    )


def _quantizers(
    places: list[Place],
) -> tuple[dict[ir.Node, Quantizer | BiasQuantizer], dict[ir.Node, Place]]:
    """By node: what is learned, and how it is laid out."""
    found: dict[ir.Node, Quantizer | BiasQuantizer] = {}
    biases: list[list[Place]] = []
    for group in groups_of(places):
        if group[0].dtype == ir.DataType.INT32:
            biases.append(group)
            continue
        quantizer = _quantizer(group)
        found.update((place.node, quantizer) for place in group)
    for group in biases:
        bias = _bias_quantizer(group[0], found) or _quantizer(group, learn=False)
        found.update((place.node, bias) for place in group)
    return found, {place.node: place for place in places}


def _quantizer(group: list[Place], *, learn: bool = True) -> Quantizer:
    first = group[0]
    makers = [place.node for place in group if place.node.op_type == "QuantizeLinear"]
    value = makers[0].inputs[0] if makers else first.node.inputs[0]
    shape = static_shape(value) or ()
    low, high = _bounds(first)
    return Quantizer(
        torch.from_numpy(first.scale.copy()),
        torch.from_numpy(first.zero_point.copy()),
        low,
        high,
        numbers=int(np.prod(shape, dtype=np.int64)) // max(1, first.scale.size),
        learn_scale=learn,
        # Symmetric ones stay so.
        learn_zero_point=learn and bool(makers) and (low == 0 or bool(first.zero_point.any())),
    )


def _bounds(place: Place) -> tuple[int, int]:
    bits, signed = place.dtype.bitwidth, place.dtype.is_signed()
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    stored = constant_array(place.node.inputs[0])
    if signed and bits == 8 and stored is not None and stored.size:
        low = max(low, min(_NARROW, int(stored.min())))
    return low, high


def _bias_quantizer(
    place: Place, known: Mapping[ir.Node, Quantizer | BiasQuantizer]
) -> BiasQuantizer | None:
    """The product of two scales, where the scale of the file is one."""
    factors = factors_of(place.node)
    if factors is None:
        return None
    activation, weight = (known.get(node) for node in factors)
    if not isinstance(activation, Quantizer) or not isinstance(weight, Quantizer):
        return None
    if activation.first_scale.numel() != 1:
        return None
    bias = BiasQuantizer(activation, weight)
    with torch.no_grad():
        same = np.array_equal(bias.scale().numpy().reshape(-1), place.scale.reshape(-1))
    return bias if same else None


def _trained(graph: ir.Graph, places: Mapping[ir.Node, Place]) -> list[ir.Value]:
    """Initializers that are trained: stored ones, and float ones of products and the like."""
    return [
        value
        for value in graph.initializers.values()
        if not value.is_graph_input()
        and constant_array(value) is not None
        and (_dequantizer(value, places) is not None or _is_float_weight(value))
    ]


def _dequantizer(value: ir.Value, places: Mapping[ir.Node, Place]) -> ir.Node | None:
    """The DequantizeLinear that restores an initializer; the first of equal ones."""
    readers = [use.node for use in value.uses() if use.idx == 0 and use.node in places]
    readers = [node for node in readers if node.op_type == "DequantizeLinear"]
    if not readers:
        return None
    for other in readers[1:]:
        if not places[other].equals(places[readers[0]]):
            raise EdgecompError(
                Code.OPERATOR_UNSUPPORTED,
                f"{value.name} is read with different scales: it cannot be trained",
                node=other.name or "",
                source=source_of(other),
                hint="give each of its readers its own initializer",
            )
    return readers[0]


def _is_float_weight(value: ir.Value) -> bool:
    if value.dtype != ir.DataType.FLOAT:
        return False
    array = constant_array(value)
    if array is None or array.size < 2:
        return False
    return any(
        (is_operator(use.node, *_WEIGHTS) and use.idx in _WEIGHTS[use.node.op_type])
        or _is_bias_of_product(use.node, use.idx)
        for use in value.uses()
    )


def _is_bias_of_product(node: ir.Node, index: int) -> bool:
    if not is_operator(node, "Add"):
        return False
    other = node.inputs[1 - index]
    return other is not None and is_operator(other.producer(), *PRODUCTS)


def _constants(graph: ir.Graph) -> list[ir.Value]:
    """Constants that nodes compute with; those of Quantize and Dequantize nodes are learned."""
    values = dict.fromkeys(
        value
        for node in graph
        for value in node.inputs[: 1 if is_quantize(node) else None]
        if value is not None
    )
    outputs = dict.fromkeys(graph.outputs)
    return [value for value in {**values, **outputs} if constant_array(value) is not None]


def _has_batch(graph: ir.Graph) -> bool:
    shapes = [static_shape(value) for value in graph.inputs]
    return bool(shapes) and all(shape and shape[0] == 1 for shape in shapes)


def _fitting(value: ir.Value, tensor: torch.Tensor, batch: tuple[int, ...]) -> torch.Tensor:
    """A tensor of an input's type; its first extent is that of a batch where there is one."""
    name, own = value.name, static_shape(value) or ()
    wanted = (*batch, *own[len(batch) :])
    if tuple(tensor.shape) != wanted:
        raise EdgecompError(
            Code.INPUT_MISMATCH,
            f"input '{name}' takes {list(wanted)}, not {list(tensor.shape)}",
        )
    dtype = tensor.dtype if value.dtype is None else TYPES.get(value.dtype, tensor.dtype)
    if not torch.can_cast(tensor.dtype, dtype):
        raise EdgecompError(
            Code.INPUT_MISMATCH, f"input '{name}' takes {dtype}, not {tensor.dtype}"
        )
    return tensor.to(dtype)


def _tensor(given: Any) -> torch.Tensor:
    if isinstance(given, torch.Tensor):
        return given
    array = np.ascontiguousarray(given).reshape(np.shape(given))
    return torch.from_numpy(array if array.flags.writeable else array.copy())
