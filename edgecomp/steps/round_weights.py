"""Learn how the weights of 8-bit products are rounded, before they are stored."""

from collections.abc import Callable, Collection, Iterable, Mapping

import numpy as np
import onnx_ir as ir

from edgecomp.calibrate.parts import in_parts
from edgecomp.calibrate.product_inputs import ProductInputs, observe_inputs
from edgecomp.calibrate.qspaces import QuantizationSpace, weight_scales, weight_space
from edgecomp.compress.adaround import AdaRoundSettings, adaround
from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.edit import set_constant_input
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.quantization_scope import decide_scope, weight_channel_axis

#: Rows of a product that its rounding is learned on.
ROWS = 1024
#: Rows of several products that are in memory together.
_MOST_BYTES = 256 << 20


def round_weights(
    model: ir.Model,
    samples: Iterable[Mapping[str, AnyArray]],
    options: InsertQdqOptions,
    *,
    only: Collection[str] | None = None,
    seed: int = 0,
    space: QuantizationSpace | None = None,
    settings: AdaRoundSettings | None = None,
    known: dict[tuple[str, bool, int], AnyArray] | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> int:
    """Replace the weights of products that become integer by what they will be stored as.

    Rounded to nearest with the same scales, they become the numbers that were learned.

    Args:
        model: float; changed in place.
        samples: feeds, iterable again.
        options: as for ``InsertQdqPass``.
        only: names of the nodes whose weights are rounded, None for all.
        seed: of the draw of rows.
        space: of all weights, those of the options where None.
        settings: of the method.
        known: weights that were learned before from the same samples, by the product's name and
            whether they have a scale per channel, and their bits; receives those that are learned now.
        progress: told (products done, products in all).

    Returns:
        How many products were rounded.
    """
    scope = decide_scope(model.graph, options, lambda _: "")
    products = [
        block.node
        for block in scope.blocks
        if block.is_product
        and _is_own(block.node)
        and (only is None or (block.node.name or "") in only)
    ]
    # All inputs are those of the float model, in whatever parts they are observed.
    known = {} if known is None else known
    keys = {
        node: (node.name or "", options.is_per_channel(node), options.weight_bits(node))
        for node in products
    }
    new = [node for node, key in keys.items() if key not in known]
    done = 0
    for part in in_parts(new, _rows_bytes, _MOST_BYTES):
        seen = observe_inputs(model, samples, part, rows=ROWS, seed=seed)
        for node in part:
            name, per_channel, bits = keys[node]
            each = space or weight_space(per_channel=per_channel, bits=bits)
            known[keys[node]] = _rounded(node, seen[name], each, settings)
            done += 1
            progress(done, len(new))
    for node, key in keys.items():
        set_constant_input(node, 1, known[key])
    return len(products)


def _is_own(node: ir.Node) -> bool:
    """Whether no other node reads the weights."""
    value = node.inputs[1]
    return value is not None and len(list(value.uses())) == 1


def _rounded(
    node: ir.Node,
    seen: ProductInputs,
    space: QuantizationSpace,
    settings: AdaRoundSettings | None,
) -> AnyArray:
    weight = constant_array(node.inputs[1])
    assert weight is not None
    axis = weight_channel_axis(node)
    outputs_last = np.moveaxis(weight, axis, -1)
    outputs = outputs_last.shape[-1]
    scales = np.broadcast_to(weight_scales(weight, axis, space), (outputs,))
    groups = seen.rows.shape[1]
    per_group = outputs // groups
    matrix = outputs_last.reshape(-1, outputs).astype(np.float64)
    result = np.empty_like(matrix)
    for group in range(groups):
        columns = slice(group * per_group, (group + 1) * per_group)
        rows = seen.rows[:, group].reshape(len(seen.rows), -1).astype(np.float64)
        numbers = adaround(
            matrix[:, columns],
            rows.T @ rows,
            scales[columns],
            0,
            (space.low, space.high),
            settings,
        )
        result[:, columns] = numbers * scales[columns].astype(np.float64)
    array = np.moveaxis(result.reshape(outputs_last.shape), -1, axis)
    return np.ascontiguousarray(array, weight.dtype)


def _rows_bytes(node: ir.Node) -> int:
    """Of the rows that a product's rounding is learned on."""
    weight = constant_array(node.inputs[1])
    assert weight is not None
    groups = node.attributes.get_int("group", 1) if node.op_type == "Conv" else 1
    depth: int = weight.size // weight.shape[weight_channel_axis(node)] * groups
    return 4 * ROWS * depth
