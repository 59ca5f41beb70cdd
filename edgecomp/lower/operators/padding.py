"""Pad in all modes: the border by fills or copies, the inside by a copy."""

import itertools
import math

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecomp.lower.operators.movement import computed, copy, integers, reinterpret
from edgecomp.lower.reader import (
    Reader,
    attribute_ints,
    attribute_string,
    constant_input,
    normalize_axis,
    optional_input,
)
from edgecomp.plan.movement import Fill
from edgecomp.plan.values import Value

#: First result index, length, first source index, step of 1, 0 or -1.
Run = tuple[int, int, int, int]
#: Where all combinations would be more copies, each dimension is padded by itself.
MOST_COPIES = 32


def read_pad(reader: Reader, node: ir.Node, stored_fill: int | None = None) -> str:
    """Pad; negative pads crop.

    Args:
        reader: state.
        node: the Pad.
        stored_fill: of quantized values; None where the node's own value counts.
    """
    if computed(node, 1, 3):
        return "pads are computed at run time"
    mode = attribute_string(node, "mode", "constant")
    source, result = reader.input(node, 0), reader.value(node.outputs[0])
    begins, ends = _pads(node, len(source.shape))
    if mode != "constant":
        return _read_copies(reader, node, (source, result), mode, begins)
    _fill(reader, node, result, stored_fill)
    box = [
        s + min(b, 0) + min(e, 0) for s, b, e in zip(source.shape, begins, ends, strict=True)
    ]
    if min(box, default=1) > 0:
        copy(
            reader,
            node,
            source,
            result,
            shape=box,
            in_start=[max(-b, 0) for b in begins],
            out_start=[max(b, 0) for b in begins],
        )
    return ""


def _pads(node: ir.Node, rank: int) -> tuple[list[int], list[int]]:
    """Elements before and behind each dimension."""
    if "pads" in node.attributes:
        given = attribute_ints(node, "pads", ())
    else:
        given = integers(constant_input(node, 1), ())
    axes = [normalize_axis(a, rank) for a in integers(constant_input(node, 3), range(rank))]
    begins, ends = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        begins[axis], ends[axis] = given[i], given[len(axes) + i]
    return begins, ends


def _fill(reader: Reader, node: ir.Node, result: Value, stored_fill: int | None) -> None:
    """The border's value everywhere."""
    if stored_fill is not None:
        reader.emit(Fill(stored_fill), [], [result], [node])
        return
    if computed(node, 2):
        rank = len(result.shape)
        value = reinterpret(reader, reader.input(node, 2), (1,) * rank, node)
        copy(reader, node, value, result, in_step=(0,) * rank)
        return
    contents = constant_input(node, 2)
    number = 0.0
    if contents is not None and contents.size:
        number = contents.reshape(-1)[0].item()
    elif optional_input(node, 2) is None and "value" in node.attributes:
        number = node.attributes["value"].as_float()
    reader.emit(Fill(number), [], [result], [node])


def _read_copies(
    reader: Reader, node: ir.Node, ends: tuple[Value, Value], mode: str, begins: list[int]
) -> str:
    """Reflect, edge and wrap."""
    source, result = ends
    if not source.elements:
        return "nothing to repeat"
    runs = [
        _runs(_sources(mode, size, padded, begin))
        for size, padded, begin in zip(source.shape, result.shape, begins, strict=True)
    ]
    if math.prod(len(each) for each in runs) <= MOST_COPIES:
        _copy_runs(reader, node, source, result, runs)
        return ""
    changed = [d for d, size in enumerate(source.shape) if runs[d] != [(0, size, 0, 1)]]
    for d in changed:
        shape = (*source.shape[:d], result.shape[d], *source.shape[d + 1 :])
        whole = [[(0, extent, 0, 1)] for extent in shape]
        whole[d] = runs[d]
        padded = result
        if d != changed[-1]:
            padded = reader.new_value(f"{result.name}.{d}", shape, source.dtype)
        _copy_runs(reader, node, source, padded, whole)
        source = padded
    return ""


def _copy_runs(
    reader: Reader, node: ir.Node, source: Value, result: Value, runs: list[list[Run]]
) -> None:
    """One copy per combination of the dimensions' runs."""
    for box in itertools.product(*runs):
        copy(
            reader,
            node,
            source,
            result,
            shape=[run[1] for run in box],
            in_start=[run[2] for run in box],
            in_step=[run[3] for run in box],
            out_start=[run[0] for run in box],
        )


def _sources(mode: str, size: int, padded: int, begin: int) -> npt.NDArray[np.int64]:
    """Source index of every result index along one dimension."""
    places = np.arange(padded) - begin
    if mode == "edge":
        return np.clip(places, 0, size - 1)
    if mode == "wrap":
        return places % size
    period = max(1, 2 * (size - 1))
    folded = places % period
    return np.minimum(folded, period - folded) if size > 1 else np.zeros_like(places)


def _runs(sources: npt.NDArray[np.int64]) -> list[Run]:
    """What lies in a straight line in the source."""
    found: list[Run] = []
    at = 0
    while at < len(sources):
        end, step = at + 1, 1
        if end < len(sources) and abs(sources[end] - sources[at]) <= 1:
            step = int(sources[end] - sources[at])
            while end < len(sources) and sources[end] - sources[end - 1] == step:
                end += 1
        found.append((at, end - at, int(sources[at]), step))
        at = end
    return found


TABLE = {"Pad": read_pad}
