"""Attention in the forms of onnxruntime's optimizer, down to products, sums and a softmax."""

import dataclasses

import numpy as np
import onnx_ir as ir

from edgecomp.graph.body import Body
from edgecomp.graph.microsoft.call import Call
from edgecomp.graph.microsoft.masks import causal_mask, padding_mask
from edgecomp.graph.microsoft.products import integer_product
from edgecomp.graph.microsoft.rotary import rotated


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Extents of an attention.

    Attributes:
        batch, heads, queries: of the query [batch, heads, queries, size].
        past: keys and values that the caller kept.
    """

    batch: int
    heads: int
    queries: int
    past: int = 0


def define_attention(node: ir.Node) -> Body | None:
    """One product makes queries, keys and values."""
    body = Call(node)
    if not body.known(0, 1, 3, 4, 5) or body.integer("do_rotary", 0) or body.has(6):
        return None
    flat = body.add("MatMul", "i0", "i1")
    if body.has(2):
        flat = body.add("Add", flat, "i2")
    return _attend_to_itself(body, flat, mask=3, past=4, bias=5)


def define_quantized_attention(node: ir.Node) -> Body | None:
    """Attention whose first product is one of integers."""
    body = Call(node)
    if not body.known(0, 1, 5, 8) or body.integer("do_rotary", 0):
        return None
    unit = body.add("Mul", body.scalar(3), body.parameter(4))
    zeros = (body.parameter(6), body.parameter(7))
    flat = body.add("Add", integer_product(body, "i0", "i1", *zeros, unit), "i2")
    return _attend_to_itself(body, flat, mask=5, past=8, bias=0)


def _attend_to_itself(
    body: Call, flat: str, *, mask: int, past: int, bias: int
) -> Body | None:
    """From [batch, queries, 3 * hidden]; ``mask``, ``past`` and ``bias`` are indices of inputs."""
    (batch, queries, _), weights = body.shape(0) or (0, 0, 0), body.shape(1) or (0, 0)
    heads = body.integer("num_heads", 1)
    given = list(body.node.attributes.get_ints("qkv_hidden_sizes", []))
    hidden = given or [weights[-1] // 3] * 3
    lengths = body.integers(*hidden)
    q, k, v = body.several("Split", [flat, lengths], 3, axis=-1)
    past_shape = body.shape(past)
    sizes = Sizes(batch, heads, queries, past_shape[3] if past_shape else 0)
    q, k, v = (
        split_heads(body, x, batch, queries, heads, width // heads)
        for x, width in zip((q, k, v), hidden, strict=True)
    )
    if past_shape:
        old = body.several("Split", [f"i{past}"], 2, axis=0, num_outputs=2)
        k, v = (
            body.add("Concat", body.add("Squeeze", o, body.integers(0)), x, axis=2)
            for o, x in zip(old, (k, v), strict=True)
        )
    if body.wants(1):
        pair = [body.add("Unsqueeze", x, body.integers(0)) for x in (k, v)]
        body.add("Concat", *pair, axis=0, to="y1")
    masks = _masks(body, sizes, queries, mask)
    if masks is None:
        return None
    if bias and body.has(bias):
        masks.append(f"i{bias}")
    scale = body.number("scale", 0.0) or (hidden[0] // heads) ** -0.5
    _join_heads(body, attend(body, q, k, v, scale, masks), (batch, queries, hidden[2]))
    return body


def define_multi_head_attention(node: ir.Node) -> Body | None:
    """Queries, keys and values given, apart or packed."""
    body = Call(node)
    if not body.known(0, 1, 2, 4, 5, 6) or body.has(8) or body.has(9) or body.wants(3):
        return None
    heads = body.integer("num_heads", 1)
    parts = _separate(body, heads)
    if parts is None:
        return None
    (q, k, v), (batch, queries, size, keys, value_size) = parts
    past_shape = body.shape(6)
    past = past_shape[2] if past_shape else 0
    if past:
        k = body.add("Concat", "i6", k, axis=2)
        v = body.add("Concat", "i7", v, axis=2)
    for index, x in ((1, k), (2, v)):
        if body.wants(index):
            body.add("Identity", x, to=f"y{index}")
    masks = _masks(body, Sizes(batch, heads, queries, past), keys, 4)
    if masks is None:
        return None
    if body.has(5):
        masks.append("i5")
    scale = body.number("scale", 0.0) or size**-0.5
    result = attend(body, q, k, v, scale, masks)
    _join_heads(body, result, (batch, queries, heads * value_size))
    return body


def _separate(
    body: Call, heads: int
) -> tuple[tuple[str, str, str], tuple[int, int, int, int, int]] | None:
    """Query, key and value as [batch, heads, length, size], and (batch, queries, size, keys, value size)."""
    query, key, value = (body.shape(index) for index in range(3))
    assert query is not None
    batch, queries = query[:2]
    if len(query) == 5:  # [batch, length, heads, 3, size]
        size = query[4]
        packed = body.transposed("i0", 3, 0, 2, 1, 4)
        parts = body.several("Split", [packed], 3, axis=0, num_outputs=3)
        q, k, v = (body.add("Squeeze", x, body.integers(0)) for x in parts)
        q, k, v = _biased(body, (q, k, v), (heads, size, size))
        return (q, k, v), (batch, queries, size, queries, size)
    size = query[2] // heads
    if key is None:
        return None
    q = "i0"
    if len(key) == 5:  # [batch, keys, heads, 2, size]
        packed = body.transposed("i1", 3, 0, 2, 1, 4)
        parts = body.several("Split", [packed], 2, axis=0, num_outputs=2)
        k, v = (body.add("Squeeze", x, body.integers(0)) for x in parts)
        q = split_heads(body, q, batch, queries, heads, size)
        q, k, v = _biased(body, (q, k, v), (heads, size, size))
        return (q, k, v), (batch, queries, size, key[1], size)
    if value is None:
        return None
    q = split_heads(body, q, batch, queries, heads, size)
    if len(key) == 4:  # [batch, heads, keys, size] already
        q = _biased(body, (q,), (heads, size, value[3]))[0]
        return (q, "i1", "i2"), (batch, queries, size, key[2], value[3])
    value_size = value[2] // heads
    k = split_heads(body, "i1", batch, key[1], heads, size)
    v = split_heads(body, "i2", batch, value[1], heads, value_size)
    q, k, v = _biased(body, (q, k, v), (heads, size, value_size))
    return (q, k, v), (batch, queries, size, key[1], value_size)


def _biased(
    body: Call, parts: tuple[str, ...], sizes: tuple[int, int, int]
) -> tuple[str, ...]:
    """The bias of [heads * (size + size + value size)] added to [batch, heads, length, size]."""
    if not body.has(3):
        return parts
    heads, size, value_size = sizes
    widths = [size, size, value_size]
    cut = body.several("Split", ["i3", body.integers(*(heads * w for w in widths))], 3, axis=0)
    return tuple(
        body.add("Add", x, body.reshaped(piece, (heads, 1, width)))
        for x, piece, width in zip(parts, cut, widths, strict=False)
    )


def define_group_query_attention(node: ir.Node) -> Body | None:
    """Several heads of queries share a head of keys and values; always causal."""
    body = Call(node)
    unknown = not body.known(0, 1, 3, 4, 5, 7, 10)
    rare = body.has(12) or body.has(13) or body.has(14) or body.has(15) or body.wants(3)
    if unknown or rare or body.integer("kv_cache_bit_width", 0):
        return None
    heads, groups = body.integer("num_heads", 1), body.integer("kv_num_heads", 1)
    batch, queries, width = body.shape(0) or (0, 0, 0)
    size = width // heads if body.has(1) else width // (heads + 2 * groups)
    parts = ("i0", "i1", "i2")
    if not body.has(1):
        lengths = body.integers(heads * size, groups * size, groups * size)
        first, second, third = body.several("Split", ["i0", lengths], 3, axis=-1)
        parts = (first, second, third)
    q, k, v = (
        split_heads(body, x, batch, queries, count, size)
        for x, count in zip(parts, (heads, groups, groups), strict=True)
    )
    past_shape = body.shape(3)
    past = past_shape[2] if past_shape else 0
    total = body.array(6)
    keys = max(past, int(total.reshape(-1)[0])) if total is not None else past + queries
    first_prompt = past == 0 or (total is not None and int(total.reshape(-1)[0]) == queries)
    begin = _begin(body, batch, queries, first_prompt=first_prompt)
    positions = body.add("Add", begin, body.integers(*range(queries)))  # [batch, queries]
    if body.integer("do_rotary", 0):
        taken = "i9" if body.has(9) else positions
        interleaved = bool(body.integer("rotary_interleaved", 0))
        tables = (body.shape(7) or (0, 0))[1]
        q, k = (
            rotated(body, x, taken, "i7", "i8", size, 2 * tables, interleaved) for x in (q, k)
        )
    if past:
        index = _cache_index(body, begin, past, queries, keys)
        k, v = (
            _updated(body, f"i{old}", x, index, (batch, groups, keys, size))
            for old, x in ((3, k), (4, v))
        )
    elif keys > queries:
        missing = body.zeros((batch, groups, keys - queries, size), k)
        k, v = (body.add("Concat", x, missing, axis=2) for x in (k, v))
    for number, x in ((1, k), (2, v)):
        if body.wants(number):
            body.add("Identity", x, to=f"y{number}")
    shared = heads // groups
    q = body.reshaped(q, (batch, groups, shared, queries, size))
    k, v = (body.reshaped(x, (batch, groups, 1, keys, size)) for x in (k, v))
    masks = [_window_mask(body, positions, keys, batch, queries)]
    if body.has(10):
        wide = body.shape(10) or (0, 0, 0, 0)
        split = (groups, shared) if wide[1] > 1 else (1, 1)
        masks.append(body.reshaped("i10", (wide[0], *split, *wide[2:])))
    scale = body.number("scale", 0.0) or size**-0.5
    sink = _sink(body, (groups, shared))
    softcap = body.number("softcap", 0.0)
    result = attend(body, q, k, v, scale, masks, softcap=softcap, sink=sink)
    result = body.reshaped(result, (batch, heads, queries, size))
    _join_heads(body, result, (batch, queries, heads * size))
    return body


def _begin(body: Call, batch: int, queries: int, *, first_prompt: bool) -> str:
    """Position of the first query of every sequence, int64 [batch, 1]."""
    if first_prompt:
        return body.constant(np.zeros((batch, 1), np.int64))
    last = body.reshaped(body.add("Cast", "i5", to_type=ir.DataType.INT64.value), (batch, 1))
    before = body.add("Sub", last, body.integers(queries - 1))
    return body.add("Max", before, body.integers(0))


def _cache_index(body: Call, begin: str, past: int, queries: int, keys: int) -> str:
    """Where each of the present keys is in [past, new], int64 [batch, keys]."""
    places = body.integers(*range(keys))
    new = body.add("Add", body.add("Sub", places, begin), body.integers(past))
    index = body.add("Where", body.add("Less", places, begin), places, new)
    return body.bounded(index, past + queries)


def _updated(body: Call, old: str, new: str, index: str, shape: tuple[int, ...]) -> str:
    """The past with the new elements at their places, [batch, groups, keys, size]."""
    both = body.add("Concat", old, new, axis=2)
    batch, _, keys, _ = shape
    if batch == 1:
        return body.add("Gather", both, body.reshaped(index, (keys,)), axis=2)
    spread = body.reshaped(index, (batch, 1, keys, 1))
    return body.add(
        "GatherElements", both, body.add("Expand", spread, body.integers(*shape)), axis=2
    )


def _window_mask(body: Call, positions: str, keys: int, batch: int, queries: int) -> str:
    """0 for keys up to the query, within the window; else the lowest number."""
    places = body.integers(*range(keys))
    at = body.reshaped(positions, (-1, 1, 1, queries, 1))
    seen = body.add("LessOrEqual", places, at)
    # Queries behind the end of a shorter prompt see what it has.
    ends = body.add("Cast", "i5", to_type=ir.DataType.INT64.value)
    inside = body.add("LessOrEqual", places, body.reshaped(ends, (batch, 1, 1, 1, 1)))
    seen = body.add("And", seen, inside)
    window = body.integer("local_window_size", -1)
    if window > 0:
        oldest = body.add("Sub", at, body.integers(window))
        seen = body.add("And", seen, body.add("Greater", places, oldest))
    lowest = body.like(float(np.finfo(np.float32).min), "i0")
    return body.add("Where", seen, body.like(0.0, "i0"), lowest)


def _sink(body: Call, heads: tuple[int, int]) -> str:
    """A score beside the keys' that takes weight and gives no value, "" for none."""
    if body.has(11):
        return body.reshaped("i11", (1, *heads, 1, 1))
    if body.integer("smooth_softmax", 0) == 1:
        return body.zeros((1, *heads, 1, 1), "i0")
    return ""


def define_rotary_embedding(node: ir.Node) -> Body | None:
    """Pairs of elements turned by an angle that grows with the position."""
    body = Call(node)
    shape, cache = body.shape(0), body.shape(2)
    if shape is None or cache is None or not body.known(1) or len(shape) not in (3, 4):
        return None
    dimension = body.integer("rotary_embedding_dim", 0)
    flat = len(shape) == 3
    heads = body.integer("num_heads", 0)
    if flat:
        size = shape[2] // heads if heads else 2 * cache[1]
        heads = shape[2] // size
        batch, length = shape[:2]
        x = split_heads(body, "i0", batch, length, heads, size)
    else:
        batch, heads, length, size = shape
        x = "i0"
    positions = "i1"
    if body.elements(1) == 1 and len(body.shape(1) or ()) < 2:
        first = body.reshaped("i1", (1, 1))
        positions = body.add("Add", first, body.integers(*range(length)))
    interleaved = bool(body.integer("interleaved", 0))
    turned = dimension or 2 * cache[1]
    result = rotated(body, x, positions, "i2", "i3", size, turned, interleaved)
    if flat:
        _join_heads(body, result, shape)
    else:
        body.add("Identity", result, to="y")
    return body


def attend(
    body: Call,
    q: str,
    k: str,
    v: str,
    scale: float,
    masks: list[str],
    *,
    softcap: float = 0.0,
    sink: str = "",
) -> str:
    """``Softmax(scale * q k' + masks) v``, heads in front."""
    rank = 5 if body.node.op_type == "GroupQueryAttention" else 4
    order = (*range(rank - 2), rank - 1, rank - 2)
    scores = body.scaled(body.add("MatMul", q, body.transposed(k, *order)), scale)
    if softcap > 0:
        bent = body.add("Tanh", body.scaled(scores, 1.0 / softcap))
        scores = body.scaled(bent, softcap)
    for mask in masks:
        scores = body.add("Add", scores, mask)
    if not sink:
        return body.add("MatMul", body.add("Softmax", scores, axis=-1), v)
    extents = body.add("Shape", scores, end=-1)
    column = body.add("Concat", extents, body.integers(1), axis=0)
    wide = body.add("Concat", scores, body.add("Expand", sink, column), axis=-1)
    weights = body.add("Softmax", wide, axis=-1)
    kept = body.add("Slice", weights, body.integers(0), body.integers(-1), body.integers(-1))
    return body.add("MatMul", kept, v)


def _masks(body: Call, sizes: Sizes, new_keys: int, index: int) -> list[str] | None:
    """Summands of the scores from the mask and from causality; None for a mask of unknown form."""
    keys = sizes.past + new_keys
    filtered = body.number("mask_filter_value", -10000.0)
    found: list[str] = []
    if body.has(index):
        mask = padding_mask(body, index, sizes.batch, sizes.queries, keys, filtered)
        if mask is None:
            return None
        found.append(mask)
    if body.integer("unidirectional", 0) and sizes.queries > 1:
        found.append(causal_mask(body, sizes.queries, keys, sizes.past))
    return [mask for mask in found if mask]


def split_heads(body: Call, x: str, batch: int, length: int, heads: int, size: int) -> str:
    """[batch, length, heads * size] to [batch, heads, length, size]."""
    return body.transposed(body.reshaped(x, (batch, length, heads, size)), 0, 2, 1, 3)


def _join_heads(body: Call, x: str, shape: tuple[int, ...]) -> None:
    """[batch, heads, length, size] to the result, [batch, length, heads * size]."""
    body.reshaped(body.transposed(x, 0, 2, 1, 3), shape, to="y")
