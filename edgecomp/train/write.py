"""What was learned, back into the portable model it came from."""

import logging

import numpy as np
import onnx_ir as ir
import torch

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.constants import AnyArray, constant_array, new_initializer
from edgecomp.graph.edit import remove_unused
from edgecomp.graph.qdq import recognize
from edgecomp.train.network import Network
from edgecomp.train.quantizer import BiasQuantizer, Quantizer

logger = logging.getLogger(__name__)


def trained_model(network: Network) -> ir.Model:
    """The portable model with trained weights, scales and zero points, and nothing else changed.

    Raises:
        EdgecompError: USAGE where a parameter is not finite.
    """
    _require_finite(network)
    model = network.model.clone()
    graph = model.graph
    for value in network.trained:
        copy = graph.initializers[value.name or ""]
        assert value.dtype is not None
        copy.const_value = ir.Tensor(network.stored(value), dtype=value.dtype, name=value.name)
    taken: dict[Quantizer | BiasQuantizer, list[ir.Value | None]] = {}
    owned: set[ir.Value] = set()
    for own, node in zip(network.model.graph, graph, strict=True):
        quantizer = network.quantizer_of.get(own)
        if quantizer is None:
            continue
        if quantizer not in taken:
            taken[quantizer] = _write(graph, node, quantizer, owned)
        for index, written in enumerate(taken[quantizer], start=1):
            if written is not None and len(node.inputs) > index:
                node.replace_input_with(index, written)
    remove_unused(model)
    _warn_of_floats(network.model, model)
    return model


def _require_finite(network: Network) -> None:
    for name, parameter in network.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise EdgecompError(
                Code.USAGE,
                f"training diverged: {name} is not finite",
                hint="train with a lower learning rate",
            )


def _write(
    graph: ir.Graph,
    node: ir.Node,
    quantizer: Quantizer | BiasQuantizer,
    owned: set[ir.Value],
) -> list[ir.Value | None]:
    """Scale and zero point in the graph; another quantizer's initializers are left to it."""
    with torch.no_grad():
        arrays = [quantizer.scale().cpu().numpy()]
        if isinstance(quantizer, Quantizer):
            arrays.append(quantizer.zero_point().cpu().numpy())
    found: list[ir.Value | None] = []
    for index, array in enumerate(arrays, start=1):
        value = node.inputs[index] if len(node.inputs) > index else None
        found.append(None if value is None else _put(graph, value, array, owned))
    return found


def _put(graph: ir.Graph, value: ir.Value, array: AnyArray, owned: set[ir.Value]) -> ir.Value:
    before = constant_array(value)
    assert before is not None
    wanted = array.reshape(before.shape).astype(before.dtype)
    if value in owned or value.producer() is not None:
        if np.array_equal(before, wanted):
            return value
        value = new_initializer(graph, value.name or "scale", wanted)
    else:
        value.const_value = ir.Tensor(wanted, dtype=value.dtype, name=value.name)
    owned.add(value)
    return value


def _warn_of_floats(before: ir.Model, after: ir.Model) -> None:
    known = recognize(before.graph).refusals
    for name, reason in recognize(after.graph).refusals.items():
        if name not in known:
            logger.warning("%s is no longer computed in integers: %s", name, reason)
