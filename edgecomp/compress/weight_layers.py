"""Store the weights of a model's products in few bits, layer after layer.

The inputs of a layer are those that the model gives with all layers before it stored already, so
that a layer makes up for what was lost before it (Frantar et al., 2023, section 4). Layers that
read one value (query, key and value of an attention) share its statistics. Whatever the method,
each layer is rounded to nearest too, and both errors are kept: on the same inputs, of the layer
alone.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgecomp.calibrate.values_in_order import MOST_BYTES, ValuesInOrder
from edgecomp.compress.gptq import gptq, output_error
from edgecomp.compress.grid import Real, WeightForm
from edgecomp.compress.round_to_nearest import round_to_nearest
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.edit import set_constant_input
from edgecomp.graph.packed_weights import PackedWeights, is_turned, weight_matrix

Feed = Mapping[str, AnyArray]
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class StoredLayer:
    """A product's weights and what was lost.

    Attributes:
        weights: as stored; the same object for products that share a matrix.
        method: ``rtn`` or ``gptq``; ``rtn`` where ``gptq`` could not be used or was no better.
        error: squared error of the result over its square, on the calibration data; None
            without data.
        control: the same, rounded to nearest.
        note: why the method is another one than was asked for.
    """

    weights: PackedWeights
    method: str
    error: float | None = None
    control: float | None = None
    note: str = ""


def store_layers(
    model: ir.Model,
    products: Sequence[ir.Node],
    form: WeightForm,
    *,
    method: str = "rtn",
    samples: Iterable[Feed] | None = None,
    memory_bytes: int = MOST_BYTES,
    progress: Progress = lambda _done, _total: None,
) -> dict[str, StoredLayer]:
    """Choose the stored weights of products; the model stays as it is.

    Args:
        model: float, topologically sorted.
        products: MatMul and Gemm of its main graph with a constant, finite second operand.
        form: how weights are stored.
        method: ``rtn`` or ``gptq``.
        samples: feeds of the graph inputs; ``gptq`` needs them.
        memory_bytes: for intermediate results of all samples.
        progress: told (products done, products in all).

    Returns:
        By the product's name.
    """
    working = model.clone() if samples is not None else model
    nodes = {node.name: node for node in working.graph}
    stored: dict[str, StoredLayer] = {}
    by_matrix: dict[ir.Value, StoredLayer] = {}
    inputs = None if samples is None else ValuesInOrder(working, samples, memory_bytes)
    for group in _groups(working, [nodes[each.name] for each in products]):
        hessian = None
        if inputs is not None and group[0].inputs[0] is not None:
            hessian = hessian_of(inputs.of(group[0].inputs[0]))
        for node in group:
            matrix = node.inputs[1]
            assert matrix is not None
            layer = by_matrix.get(matrix)
            if layer is None:
                layer = store_layer(
                    weight_matrix(node).astype(np.float64), form, method, hessian
                )
                by_matrix[matrix] = layer
            stored[node.name or ""] = layer
            progress(len(stored), len(products))
        if samples is not None:
            for node in group:
                _replace(node, stored[node.name or ""].weights)
    return stored


def hessian_of(inputs: Iterable[AnyArray]) -> Real | None:
    """``2 / n sum x x^T`` over all rows of arrays [.., K]; None where one is not finite."""
    total: Real | None = None
    rows = 0
    for array in inputs:
        x = array.reshape(-1, array.shape[-1]).astype(np.float64)
        square = x.T @ x
        total = square if total is None else total + square
        rows += len(x)
    if total is None or not np.isfinite(total).all():
        return None
    return total * (2.0 / max(1, rows))


def _groups(model: ir.Model, products: Sequence[ir.Node]) -> list[list[ir.Node]]:
    """Products by the value they read, in the order in which those values are made."""
    places = {value: i for i, node in enumerate(model.graph) for value in node.outputs}
    groups: dict[ir.Value | None, list[ir.Node]] = {}
    for node in products:
        groups.setdefault(node.inputs[0], []).append(node)
    order = sorted(groups, key=lambda value: -1 if value is None else places.get(value, -1))
    return [groups[value] for value in order]


def store_layer(
    weight: Real, form: WeightForm, method: str, hessian: Real | None
) -> StoredLayer:
    """Choose the stored weights of one product, for inputs of a Hessian (see ``hessian_of``)."""
    control = round_to_nearest(weight, form)
    if hessian is None:
        note = "its inputs became infinite or NaN while calibrating" if method != "rtn" else ""
        return StoredLayer(control, "rtn", note=note)
    error = output_error(weight, control, hessian)
    if method == "rtn":
        return StoredLayer(control, "rtn", error, error)
    found = gptq(weight, hessian, form)
    lost = output_error(weight, found, hessian)
    if lost >= error:
        note = "rounding to nearest loses no more"
        return StoredLayer(control, "rtn", error, error, note)
    return StoredLayer(found, "gptq", lost, error)


def _replace(node: ir.Node, weights: PackedWeights) -> None:
    """Let a product compute with its stored weights."""
    real = weights.real()
    set_constant_input(node, 1, real.T if is_turned(node) else real)
