"""What is added to attention's scores, so that padding and the future get no weight."""

import numpy as np

from edgecomp.graph.microsoft.call import Call


def padding_mask(
    body: Call, index: int, batch: int, queries: int, keys: int, filtered: float
) -> str | None:
    """0 for keys that count and ``filtered`` for others; "" where all count.

    The input has one of the forms [batch] (lengths), [2 * batch] (ends, then starts),
    [3 * batch + 2] (lengths first), [batch, keys], [batch, queries, keys] or
    [batch, 1, longest, longest]; None for any other.
    """
    shape = body.shape(index)
    name = f"i{index}"
    places = body.constant(np.arange(keys, dtype=np.int32))
    if shape in ((batch,), (3 * batch + 2,)):
        ends = body.add("Slice", name, body.integers(0), body.integers(batch))
        counts = body.add("Less", places, body.reshaped(ends, (batch, 1, 1, 1)))
    elif shape == (2 * batch,):
        ends, starts = body.several("Split", [name], 2, axis=0, num_outputs=2)
        before = body.add("Less", places, body.reshaped(ends, (batch, 1, 1, 1)))
        behind = body.add("GreaterOrEqual", places, body.reshaped(starts, (batch, 1, 1, 1)))
        counts = body.add("And", before, behind)
    elif shape in ((batch, 1), (1, 1)) and keys > 1:
        return ""
    elif shape == (batch, keys):
        counts = _positive(body, body.reshaped(name, (batch, 1, 1, keys)))
    elif shape == (batch, queries, keys):
        counts = _positive(body, body.reshaped(name, (batch, 1, queries, keys)))
    elif shape is not None and len(shape) == 4 and shape[:2] == (batch, 1):
        past = keys - queries
        starts, ends = body.integers(past, 0), body.integers(past + queries, keys)
        counts = _positive(body, body.add("Slice", name, starts, ends, body.integers(2, 3)))
    else:
        return None
    zero, low = body.constant(np.float32(0)), body.constant(np.float32(filtered))
    return _in_type_of_result(body, body.add("Where", counts, zero, low))


def causal_mask(body: Call, queries: int, keys: int, past: int) -> str:
    """0 for keys up to the query's own position, the lowest number behind it."""
    later = np.arange(keys) > past + np.arange(queries)[:, None]
    lowest = np.where(later, np.finfo(np.float32).min, np.float32(0)).astype(np.float32)
    return _in_type_of_result(body, body.constant(lowest))


def _positive(body: Call, mask: str) -> str:
    return body.add("Greater", mask, body.constant(np.int32(0)))


def _in_type_of_result(body: Call, mask: str) -> str:
    """float32, or the element type of the biases where the operator computes in another."""
    index = 2 if body.node.op_type == "QAttention" else 0
    return body.add("CastLike", mask, f"i{index}")
