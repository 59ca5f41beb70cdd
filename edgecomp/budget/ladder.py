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
        is_static: whether it reads and gives integers of calibrated ranges, as w8a8.
        is_finer: of a static one: whether it loses less than w8a8. Where it does not, it is
            offered to layers that it costs less.
        in_integers: whether it multiplies integers: what stands for its time where no target
            says better.
    """

    precision: str
    is_static: bool = False
    is_finer: bool = False
    in_integers: bool = False


#: From the most exact to the least. Of two that cost a layer the same the first is offered.
LADDER = (
    Rung("fp16"),
    Rung("bf16"),
    Rung("w16a16-int", is_static=True, is_finer=True, in_integers=True),
    Rung("w8a16-int", is_static=True, is_finer=True, in_integers=True),
    Rung("w8a16"),
    Rung("fp8"),
    Rung("w8a8-dynamic", in_integers=True),
    Rung("w16a8", is_static=True, is_finer=True, in_integers=True),
    Rung("w4a16"),
    Rung("w4a8-dynamic", in_integers=True),
    Rung("w4a8", is_static=True, in_integers=True),
    Rung("log2"),
)
