"""Heights and widths behind windows: as the window makes them of those before it.

Numbers of a few sizes do not always say how a quotient is rounded; the strides and pads of a
convolution or a pool do.
"""

import itertools
from collections.abc import Iterator, Sequence

from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.plan.reductions import Pool
from edgecomp.plan.sizes import Dimension, is_dynamic, quotient


def window_extents(
    operation: Operation, twins: Sequence[Operation]
) -> Iterator[tuple[int, list[int], Dimension]]:
    """What each dynamic extent of the output may be.

    Args:
        operation: at the largest sizes; its input has expressions, its output numbers.
        twins: the same at other sizes.

    Yields:
        (axis, numbers at all sizes, an expression that they may have): to be checked.
    """
    kind = operation.kind
    if not isinstance(kind, Convolution | Pool):
        return
    kinds = [kind, *(twin.kind for twin in twins)]
    window = kind.window if isinstance(kind, Pool) else operation.inputs[1].shape[2:]
    for axis in (0, 1):
        extent = operation.inputs[0].shape[2 + axis]
        if not is_dynamic(extent):
            continue
        numbers = [each.output.shape[2 + axis] for each in (operation, *twins)]
        reach = (window[axis] - 1) * kind.dilations[axis] + 1
        # Of a pool that rounds up, windows may overshoot the padding, which is then wider.
        ends = {each.pads[2 + axis] for each in kinds if isinstance(each, Convolution | Pool)}
        stride = kind.strides[axis]
        for end, more in itertools.product(sorted(ends), (0, stride - 1)):
            room = extent + kind.pads[axis] + end - reach + more
            yield 2 + axis, numbers, quotient(room, stride) + 1
