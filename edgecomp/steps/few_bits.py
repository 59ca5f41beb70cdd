"""Weights of some layers in few bits, beside layers that are computed in 8-bit integers.

Each layer is rounded by GPTQ on what it reads in the float model, so that its weights depend on no
other layer's precision.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import onnx_ir as ir

from edgecomp.calibrate.values_in_order import ValuesInOrder
from edgecomp.compress.grid import WeightForm
from edgecomp.compress.weight_layers import hessian_of, store_layer
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.packed_weights import PackedWeights, weight_matrix
from edgecomp.options import WEIGHT_BITS

#: Inputs of a layer that share a scale where nothing else is asked for.
GROUP = 64

#: Of a product's name and a precision.
Known = dict[tuple[str, str], PackedWeights]


def few_bit_weights(
    model: ir.Model,
    samples: Iterable[Mapping[str, AnyArray]],
    wanted: Mapping[str, str],
    known: Known | None = None,
) -> dict[str, PackedWeights]:
    """Choose the stored weights of products; the model stays as it is.

    Args:
        model: float, as it was trained or with scales that were moved.
        samples: feeds, iterable again.
        wanted: name of a product (see ``passes.weight_scope``) -> one of ``WEIGHT_BITS``.
        known: weights that were chosen before from the same samples; receives those that are
            chosen now.

    Returns:
        By the product's name.
    """
    known = {} if known is None else known
    values = ValuesInOrder(model, samples)
    for node in model.graph:
        name = node.name or ""
        precision = wanted.get(name)
        if precision is None or (name, precision) in known:
            continue
        read = node.inputs[0]
        assert read is not None
        form = WeightForm(
            bits=WEIGHT_BITS[precision], group=GROUP, symmetric=True, ranges="mse"
        )
        matrix = weight_matrix(node).astype(np.float64)
        hessian = hessian_of(values.of(read))
        known[name, precision] = store_layer(matrix, form, "gptq", hessian).weights
    return {name: known[name, precision] for name, precision in wanted.items()}
