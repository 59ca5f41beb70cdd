"""4-bit weights of 8-bit products, rounded so that a layer's results change least.

GPTQ chooses them on a scale per output, for MatMul and Gemm; weights of convolutions are rounded to
nearest, or by AdaRound where that is asked for. What is chosen becomes the model's float weights,
which are stored as the same numbers.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecomp.compress.grid import WeightForm
from edgecomp.compress.weight_layers import StoredLayer, store_layers
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.edit import set_constant_input
from edgecomp.graph.packed_weights import is_turned
from edgecomp.options import QuantizeOptions
from edgecomp.passes.quantization_scope import InsertQdqOptions
from edgecomp.passes.weight_scope import few_bit_products
from edgecomp.progress import Progress

#: One scale per output, as integer products have it.
_FORM = WeightForm(bits=4, group=0, symmetric=True, ranges="mse")


def round_four_bits(
    model: ir.Model,
    samples: Iterable[Mapping[str, AnyArray]],
    qdq: InsertQdqOptions,
    rounded: Collection[str],
    options: QuantizeOptions,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Replace the weights of products in place; rows for the report, one a layer.

    Args:
        model: float.
        samples: feeds, iterable again.
        qdq: what is quantized, and which weights to 4 bits.
        rounded: names of nodes whose rounding was learned already.
        options: the method.
        progress: told about the step.

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
    stored = store_layers(
        model,
        products,
        _FORM,
        method=method,
        samples=samples,
        progress=lambda done, total: progress("round 4-bit weights", done, total),
    )
    rows = []
    for node in products:
        layer = stored[node.name or ""]
        matrix = layer.weights.real()
        set_constant_input(
            node, 1, np.ascontiguousarray(matrix.T if is_turned(node) else matrix)
        )
        rows.append(_row(node.name or "", layer))
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
