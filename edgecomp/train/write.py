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
    owners: dict[ir.Value, Quantizer | BiasQuantizer] = {}
    for own, node in zip(network.model.graph, graph, strict=True):
        quantizer = network.quantizer_of.get(own)
        if quantizer is not None:
            _write(graph, node, quantizer, owners)
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
    owners: dict[ir.Value, Quantizer | BiasQuantizer],
) -> None:
    """Scale and zero point of a node; what another quantizer has written is left to it."""
    with torch.no_grad():
        arrays = [quantizer.scale().cpu().numpy()]
        if isinstance(quantizer, Quantizer):
            arrays.append(quantizer.zero_point().cpu().numpy())
    for index, array in enumerate(arrays, start=1):
        value = node.inputs[index] if len(node.inputs) > index else None
        before = constant_array(value)
        if value is None or before is None or owners.get(value) is quantizer:
            continue
        wanted: AnyArray = array.reshape(before.shape).astype(before.dtype)
        if value in owners or value.producer() is not None:
            value = _known(owners, quantizer, wanted) or new_initializer(
                graph, value.name or "scale", wanted
            )
            node.replace_input_with(index, value)
        else:
            value.const_value = ir.Tensor(wanted, dtype=value.dtype, name=value.name)
        owners[value] = quantizer


def _known(
    owners: dict[ir.Value, Quantizer | BiasQuantizer],
    quantizer: Quantizer | BiasQuantizer,
    wanted: AnyArray,
) -> ir.Value | None:
    """What the same quantizer has written for another node."""
    for value, owner in owners.items():
        array = constant_array(value)
        if owner is quantizer and array is not None and array.dtype == wanted.dtype:
            if np.array_equal(array, wanted):
                return value
    return None


def _warn_of_floats(before: ir.Model, after: ir.Model) -> None:
    known = recognize(before.graph).refusals
    for name, reason in recognize(after.graph).refusals.items():
        if name not in known:
            logger.warning("%s is no longer computed in integers: %s", name, reason)
