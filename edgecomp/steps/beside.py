"""Layers of other precisions beside those that are computed in static integers.

Their activations are float, or quantized while the model runs, so that no calibrated range is theirs
and each is stored by itself: weights that are rounded by GPTQ are so for what the layer reads in the
float model, and depend on no other layer's precision.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecomp.calibrate.values_in_order import ValuesInOrder
from edgecomp.compress.grid import Real, WeightForm
from edgecomp.compress.narrow import narrowed
from edgecomp.compress.weight_layers import hessian_of, store_layer
from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.narrow_weights import output_axis
from edgecomp.graph.packed_weights import weight_matrix
from edgecomp.options import DYNAMIC_BITS, WEIGHT_BITS, WEIGHT_TYPES
from edgecomp.passes.dynamic_scope import dynamic_matrix, dynamic_products, integer_matrix
from edgecomp.passes.narrow_scope import WEIGHTS, narrow_operators
from edgecomp.passes.narrow_weights import NarrowWeightsPass
from edgecomp.passes.quantize_dynamically import QuantizeDynamicallyPass
from edgecomp.passes.store_weights import StoreWeightsPass
from edgecomp.passes.weight_scope import few_bit_products

#: Inputs of a layer that share a scale where nothing else is asked for.
GROUP = 64

#: What is stored for an operator, by its name and precision; with each the pass that stores it.
Stored = Mapping[str, tuple[str, Any]]
#: The same of trials, by name, precision, and whether it was rounded to nearest.
Known = dict[tuple[str, str, bool], Any]


@dataclasses.dataclass(frozen=True)
class Family:
    """Precisions that are stored in one way.

    Attributes:
        precisions: names of ``options.PRECISIONS``.
        operators: graph and precision -> operators with weights, and why they stay as they are,
            or "".
        store: what the pass takes for an operator of a precision, from ``X^T X`` of what it
            reads; without one weights are rounded to nearest.
        make_pass: from what is stored, by the operators' names.
        learns: whether ``X^T X`` is of use.
    """

    precisions: Sequence[str]
    operators: Callable[[ir.Graph, str], Mapping[str, str]]
    store: Callable[[ir.Node, str, Real | None], Any]
    make_pass: Callable[[Mapping[str, Any]], ir.passes.InPlacePass]
    learns: bool = False


def operators_of(graph: ir.Graph, precision: str) -> Mapping[str, str]:
    """Operators with weights -> why they cannot have a precision of ``FAMILIES``, or ""."""
    return _family(precision).operators(graph, precision)


def store_beside(
    model: ir.Model,
    samples: Iterable[Mapping[str, AnyArray]],
    wanted: Mapping[str, str],
    to_nearest: Collection[str] = (),
    known: Known | None = None,
) -> Stored:
    """Choose the stored weights of operators; the model stays as it is.

    Args:
        model: float, as it was trained or with scales that were moved.
        samples: feeds, iterable again.
        wanted: name of an operator -> precision of ``FAMILIES`` that it can have.
        to_nearest: names of operators whose weights are rounded to nearest.
        known: what was chosen before from the same samples; receives what is chosen now.
    """
    known = {} if known is None else known
    values = ValuesInOrder(model, samples)
    for node in model.graph:
        name = node.name or ""
        precision = wanted.get(name)
        nearest = name in to_nearest
        if precision is None or (name, precision, nearest) in known:
            continue
        family = _family(precision)
        moments = None
        if family.learns and not nearest:
            read = node.inputs[0]
            assert read is not None
            moments = hessian_of(values.of(read))
        known[name, precision, nearest] = family.store(node, precision, moments)
    return {
        name: (precision, known[name, precision, name in to_nearest])
        for name, precision in wanted.items()
    }


def beside_passes(stored: Stored) -> list[ir.passes.InPlacePass]:
    """The passes that store them, behind that which inserts static quantization."""
    found = []
    for family in FAMILIES:
        own = {name: what for name, (p, what) in stored.items() if p in family.precisions}
        if own:
            found.append(family.make_pass(own))
    return found


def _family(precision: str) -> Family:
    return next(family for family in FAMILIES if precision in family.precisions)


def _pack(node: ir.Node, precision: str, moments: Real | None) -> Any:
    bits = WEIGHT_BITS[precision]
    form = WeightForm(bits=bits, group=GROUP if bits > 1 else 0, symmetric=True, ranges="mse")
    method = "rtn" if moments is None else "gptq"
    return store_layer(weight_matrix(node).astype(np.float64), form, method, moments).weights


def _narrow(node: ir.Node, precision: str, _moments: Real | None) -> Any:
    weight = constant_array(node.inputs[WEIGHTS[node.op_type][0]])
    assert weight is not None
    axis = None if node.op_type == "Gather" else output_axis(node)
    return narrowed(weight, WEIGHT_TYPES[precision], axis)


def _integers(node: ir.Node, precision: str, _moments: Real | None) -> Any:
    return integer_matrix(dynamic_matrix(node), DYNAMIC_BITS[precision], per_channel=True)


FAMILIES = (
    Family(
        tuple(WEIGHT_BITS),
        lambda graph, _: few_bit_products(graph),
        _pack,
        StoreWeightsPass,
        learns=True,
    ),
    Family(
        tuple(WEIGHT_TYPES),
        lambda graph, precision: narrow_operators(graph, WEIGHT_TYPES[precision]),
        _narrow,
        NarrowWeightsPass,
    ),
    Family(
        tuple(DYNAMIC_BITS),
        lambda graph, _: dynamic_products(graph),
        _integers,
        QuantizeDynamicallyPass,
    ),
)
