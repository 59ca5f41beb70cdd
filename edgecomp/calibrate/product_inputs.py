"""What the products of a model read while it runs: limits per channel, and some rows.

A row is what one result is summed from: one line of a matrix, or the patch of a convolution at
one position, as [groups, inputs of a group, taps]. Memory holds the rows of all products and the
inputs of one sample, of as many products at a time as fit.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecomp.calibrate.parts import in_parts
from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.run import Runner
from edgecomp.graph.shapes import static_shape

Real = npt.NDArray[np.float64]

#: Rows say what the channels do together; they settle with few samples.
MOST_SAMPLES = 64
_MOST_BYTES = 512 << 20
_FLOAT_BYTES = 4


@dataclasses.dataclass(eq=False)
class ProductInputs:
    """What a product read.

    Attributes:
        low: least number per input channel, at most 0.
        high: greatest number per input channel, at least 0.
        rows: float32 [rows, groups, inputs of a group, taps].
    """

    low: Real
    high: Real
    rows: npt.NDArray[np.float32]


def observe_inputs(
    model: ir.Model,
    samples: Iterable[Mapping[str, AnyArray]],
    products: Sequence[ir.Node],
    *,
    rows: int = 0,
    seed: int = 0,
) -> dict[str, ProductInputs]:
    """Run the float model over the first ``MOST_SAMPLES`` samples.

    Args:
        model: float, static shapes.
        samples: feeds, iterable again.
        products: Conv, Gemm and MatMul nodes of the main graph with constant weights.
        rows: how many are drawn of each product, evenly over the samples.
        seed: of the draws.

    Returns:
        By the node's name.
    """
    found: dict[str, ProductInputs] = {}
    for part in in_parts(products, _input_bytes, _MOST_BYTES):
        found |= _observe(model, samples, part, rows, seed)
    return found


def _observe(
    model: ir.Model,
    samples: Iterable[Mapping[str, AnyArray]],
    products: Sequence[ir.Node],
    rows: int,
    seed: int,
) -> dict[str, ProductInputs]:
    inputs = {value.name for value in model.graph.inputs}
    names = {_input_name(node) for node in products}
    runner = Runner(model, sorted(names - inputs), optimize=True)
    per_sample = -(-rows // MOST_SAMPLES)
    # Each has its own draw: which others are observed changes nothing.
    draws = {n: np.random.default_rng([seed, *(n.name or "").encode()]) for n in products}
    seen: dict[str, list[ProductInputs]] = {}
    for sample in itertools.islice(samples, MOST_SAMPLES):
        results = {**sample, **(runner(sample) if runner.names else {})}
        for node in products:
            array = results[_input_name(node)]
            seen.setdefault(node.name or "", []).append(
                _of_sample(node, array, per_sample, draws[node])
            )
    return {name: _merged(parts) for name, parts in seen.items()}


def _merged(parts: Sequence[ProductInputs]) -> ProductInputs:
    return ProductInputs(
        np.min([part.low for part in parts], axis=0),
        np.max([part.high for part in parts], axis=0),
        np.concatenate([part.rows for part in parts]),
    )


def _input_name(node: ir.Node) -> str:
    value = node.inputs[0]
    assert value is not None
    return value.name or ""


def _input_bytes(node: ir.Node) -> int:
    return _FLOAT_BYTES * int(np.prod(static_shape(node.inputs[0]) or (0,)))


def _of_sample(
    node: ir.Node, array: AnyArray, rows: int, rng: np.random.Generator
) -> ProductInputs:
    channels_last = np.moveaxis(array, 1, -1) if node.op_type == "Conv" else array
    lines = channels_last.reshape(-1, channels_last.shape[-1])
    low = np.minimum(lines.min(axis=0), 0).astype(np.float64)
    high = np.maximum(lines.max(axis=0), 0).astype(np.float64)
    if node.op_type == "Conv":
        return ProductInputs(low, high, _patches(node, array, rows, rng))
    chosen = rng.choice(len(lines), min(rows, len(lines)), replace=False)
    return ProductInputs(low, high, lines[np.sort(chosen), None, :, None])


def _patches(
    node: ir.Node, array: AnyArray, rows: int, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Patches at random positions, as [rows, groups, inputs of a group, taps]."""
    weight, shape = constant_array(node.inputs[1]), static_shape(node.outputs[0])
    assert weight is not None
    assert shape is not None
    window = weight.shape[2:]
    ones = (1,) * len(window)
    strides = node.attributes.get_ints("strides", ones)
    dilations = node.attributes.get_ints("dilations", ones)
    pads = node.attributes.get_ints("pads", (0,) * (2 * len(window)))
    ends = zip(pads[: len(window)], pads[len(window) :], strict=True)
    padded = np.pad(array, [(0, 0), (0, 0), *ends])
    positions = int(np.prod(shape)) // shape[1]
    chosen = np.sort(rng.choice(positions, min(rows, positions), replace=False))
    groups = node.attributes.get_int("group", 1)
    result = np.empty((len(chosen), array.shape[1], int(np.prod(window))), np.float32)
    for row, position in enumerate(chosen):
        image, *place = np.unravel_index(position, (shape[0], *shape[2:]))
        window_at: tuple[Any, ...] = tuple(
            slice(int(p) * s, int(p) * s + d * (k - 1) + 1, d)
            for p, s, d, k in zip(place, strides, dilations, window, strict=True)
        )
        patch = padded[int(image)][(slice(None), *window_at)]
        result[row] = patch.reshape(array.shape[1], -1)
    return result.reshape(len(chosen), groups, weight.shape[1], result.shape[2])
