"""The precisions that a budget may give a layer besides float and 8-bit integers, as data.

A further one is one line: a name of ``options.PRECISIONS`` that recipes can give layers, and
whether it reads and gives calibrated integers. What it costs a layer is read off the model in which
every layer that can have it does.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Rung:
    """One precision.

    Attributes:
        precision: name of ``options.PRECISIONS``.
        time: of a product by that in float, where no target says better: w8a8 has 0.25, as four
            numbers of 8 bits stand where one of 32 does.
        is_static: whether it reads and gives integers of calibrated ranges, as w8a8.
        is_finer: of a static one: whether it loses less than w8a8. Where it does not, it is
            offered to layers that it costs less.
    """

    precision: str
    time: float = 1.0
    is_static: bool = False
    is_finer: bool = False


#: From the most exact to the least. Of two that cost a layer the same the first is offered.
LADDER = (
    Rung("fp16"),
    Rung("bf16"),
    Rung("w16a16-int", 0.75, is_static=True, is_finer=True),
    Rung("w8a16-int", 0.5, is_static=True, is_finer=True),
    Rung("w8a16"),
    Rung("fp8"),
    Rung("w8a8-dynamic", 0.3),
    Rung("w16a8", 0.5, is_static=True, is_finer=True),
    Rung("w4a16"),
    Rung("w4a8-dynamic", 0.3),
    Rung("w4a8", 0.25, is_static=True),
    Rung("log2"),
)
