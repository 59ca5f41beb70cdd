"""Options of the model: its inputs, its dimensions, its operator set."""

import dataclasses

from edgecomp.options.option import Options, check_range, option


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelOptions(Options):
    """The model and how it is read."""

    input: tuple[str, ...] = option(
        (),
        "shape, and dtype if it changes, of a graph input; sets free dimensions. [1..512] is a "
        "dimension of any size in these bounds, [32..640:32] of a multiple of 32 in them; "
        "dimensions of one name in the model, or named as in [length=1..512], are one",
        metavar="NAME:1x3x224x224[:DTYPE]",
    )
    bound: tuple[str, ...] = option(
        (),
        "bounds of a dimension that the data decides (NonZero, NonMaxSuppression), where those "
        "that follow from the shapes are too large; 'edgecomp check' names the dimensions",
        metavar="DIMENSION:[0..100]",
    )
    constant: tuple[str, ...] = option(
        (),
        "contents of a graph input that is fixed at build time, which removes the input: what "
        "it decides, such as the branch of an If, is decided once",
        metavar="NAME=NUMBER[,NUMBER]",
    )
    opset: int | None = option(
        None, "operator set the model is traced or converted to", metavar="N"
    )

    def _check(self) -> None:
        if self.opset is not None:
            check_range("opset", self.opset, 1, None)
