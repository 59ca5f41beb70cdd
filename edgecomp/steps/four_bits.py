"""4-bit weights of 8-bit products, rounded so that a layer's results change least.

GPTQ chooses them on a scale per output, for MatMul and Gemm; weights of convolutions are rounded to
nearest, or by AdaRound where that is asked for. What is chosen becomes the model's float weights,
which are stored as the same numbers.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecomp.calibrate.values_in_order import ValuesInOrder
from edgecomp.compress.grid import WeightForm
from edgecomp.compress.weight_layers import StoredLayer, hessian_of, store_layer
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.edit import set_constant_input
from edgecomp.graph.packed_weights import is_turned, weight_matrix
from edgecomp.options import QuantizeOptions
from edgecomp.passes.quantization_scope import InsertQdqOptions
from edgecomp.passes.weight_scope import few_bit_products
from edgecomp.progress import Progress

#: Rounded layers by name.
Known = dict[str, StoredLayer]

#: One scale per output, as integer products have it.
_FORM = WeightForm(bits=4, group=0, symmetric=True, ranges="mse")


def round_four_bits(
    model: ir.Model,
    trained: ir.Model,
    samples: Iterable[Mapping[str, AnyArray]],
    qdq: InsertQdqOptions,
    rounded: Collection[str],
    options: QuantizeOptions,
    progress: Progress,
    known: Known | None = None,
) -> list[dict[str, Any]]:
    """Replace the weights of products in place; rows for the report, one a layer.

    Args:
        model: float.
        trained: the same with its own weights: what layers read is computed by it, so that a
            layer's weights depend on no other's precision.
        samples: feeds, iterable again.
        qdq: what is quantized, and which weights to 4 bits.
        rounded: names of nodes whose rounding was learned already.
        options: the method.
        progress: told about the step.
        known: layers that were rounded before for the same samples; receives those of now.

    Raises:
        EdgecompError: USAGE where GPTQ is asked for on made-up inputs.
    """
    if options.data_free and options.method == "gptq":
        raise EdgecompError(
            Code.USAGE,
            "--method gptq: it rounds for the inputs of a layer, and made-up ones say little",
            hint="give calibration data, or leave --data-free or --method out",
        )
    method = options.method or ("rtn" if options.data_free else "gptq")
    possible = few_bit_products(model.graph)
    products = [
        node
        for node in model.graph
        if (node.name or "") in qdq.four_bits
        and possible.get(node.name or "") == ""
        and node.name not in rounded
        and node.name not in qdq.stay_float
    ]
    if method == "rtn" or not products:
        return []
    known = {} if known is None else known
    read = {node.name: node.inputs[0] for node in trained.graph}
    values = ValuesInOrder(trained, samples)
    rows = []
    for number, node in enumerate(products):
        progress("round 4-bit weights", number, len(products))
        name = node.name or ""
        if name not in known:
            value = read[name]
            assert value is not None
            known[name] = store_layer(
                weight_matrix(node).astype(np.float64),
                _FORM,
                method,
                hessian_of(values.of(value)),
            )
        matrix = known[name].weights.real()
        set_constant_input(
            node, 1, np.ascontiguousarray(matrix.T if is_turned(node) else matrix)
        )
        rows.append(_row(name, known[name]))
    return rows


def _row(name: str, layer: StoredLayer) -> dict[str, Any]:
    """A layer in the report."""
    depth, columns = layer.weights.numbers.shape
    row: dict[str, Any] = {
        "node": name,
        "shape": [depth, columns],
        "float_bytes": depth * columns * 4,
        "bytes": -(-depth * columns // 2) + columns * 4,
        "method": layer.method,
    }
    if layer.error is not None:
        row |= {"error": float(np.float32(layer.error)), "rtn_error": layer.control}
    return row | ({"note": layer.note} if layer.note else {})
