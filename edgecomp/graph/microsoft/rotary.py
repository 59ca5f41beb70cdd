"""Rotary position embedding of [batch, heads, length, size]."""

from edgecomp.graph.microsoft.call import Call


def rotated(
    body: Call,
    x: str,
    positions: str,
    cosines: str,
    sines: str,
    size: int,
    turned: int,
    interleaved: bool,
) -> str:
    """The first ``turned`` elements turned in pairs, the others as they are.

    Args:
        body: receives the nodes.
        x: [batch, heads, length, size].
        positions: int64 [batch or 1, length].
        cosines: [positions, turned / 2].
        sines: likewise.
        size: elements of a head.
        turned: of which the first so many take part.
        interleaved: pairs are neighbours; else the halves are the pairs' sides.
    """
    rest = ""
    if turned < size:
        lengths = body.integers(turned, size - turned)
        x, rest = body.several("Split", [x, lengths], 2, axis=-1)
    one = body.integers(1)
    cos, sin = (
        body.add("Unsqueeze", body.add("Gather", table, positions, axis=0), one)
        for table in (cosines, sines)
    )
    if interleaved:
        pairs = body.add("Reshape", x, body.integers(0, 0, 0, turned // 2, 2))
        sides = body.several("Split", [pairs], 2, axis=-1, num_outputs=2)
        first, second = (body.add("Squeeze", side, body.integers(-1)) for side in sides)
    else:
        first, second = body.several("Split", [x], 2, axis=-1, num_outputs=2)
    left = body.add("Sub", body.add("Mul", first, cos), body.add("Mul", second, sin))
    right = body.add("Add", body.add("Mul", first, sin), body.add("Mul", second, cos))
    if interleaved:
        sides = [body.add("Unsqueeze", side, body.integers(-1)) for side in (left, right)]
        joined = body.add("Concat", *sides, axis=-1)
        result = body.add("Reshape", joined, body.integers(0, 0, 0, turned))
    else:
        result = body.add("Concat", left, right, axis=-1)
    return body.add("Concat", result, rest, axis=-1) if rest else result
