"""Layers with weights of few bits, as the report lists them."""

from typing import Any

import numpy as np

from edgecomp.compress.weight_layers import StoredLayer
from edgecomp.graph.constants import AnyArray


def layer_row(name: str, layer: StoredLayer) -> dict[str, Any]:
    """A layer whose stored numbers were chosen, with the error of its results where it is known."""
    weights = layer.weights
    depth, columns = weights.numbers.shape
    bits = depth * columns * weights.bits + weights.scales.size * 32
    row: dict[str, Any] = {
        "node": name,
        "shape": [depth, columns],
        "float_bytes": depth * columns * 4,
        "bytes": -(-bits // 8),
        "method": layer.method,
    }
    if layer.error is not None:
        row |= {"error": float(np.float32(layer.error)), "rtn_error": layer.control}
    return row | ({"note": layer.note} if layer.note else {})


def without_groups(row: dict[str, Any], reason: str) -> dict[str, Any]:
    """The row of a layer that was rounded with scales of groups and is stored with one per output.

    Args:
        row: of ``layer_row``; the errors in it are those of other numbers.
        reason: why.
    """
    depth, columns = row["shape"]
    known = {key: value for key, value in row.items() if key not in ("error", "rtn_error")}
    note = f"one scale per output, not one per group: {reason}"
    if "note" in row:
        note = f"{row['note']}; {note}"
    return {**known, "bytes": -(-depth * columns // 2) + 4 * columns, "note": note}


def rounded_row(name: str, weight: AnyArray, back: AnyArray, size: int) -> dict[str, Any]:
    """A layer in the report whose weights were rounded to nearest.

    Args:
        name: of the node.
        weight: float32.
        back: what the stored numbers stand for.
        size: bytes of the stored numbers and scales.

    Returns:
        Its error is ``||W - Q||^2 / ||W||^2``, 0 where all are 0.
    """
    lost, power = weight - back, float(np.vdot(weight, weight))
    return {
        "node": name,
        "shape": list(weight.shape),
        "float_bytes": weight.nbytes,
        "bytes": size,
        "method": "rtn",
        "weight_error": float(np.float32(np.vdot(lost, lost) / power)) if power else 0.0,
    }
