"""Options of searching where a quantized model loses its accuracy."""

import dataclasses
import math
import pathlib

from edgecomp.options.option import check_apart, check_range, option, usage
from edgecomp.options.quantize import QuantizeOptions, check_recipe_file


@dataclasses.dataclass(frozen=True, kw_only=True)
class DebugOptions(QuantizeOptions):
    """Which layers a quantized model loses its accuracy in, and what helps."""

    output: pathlib.Path | None = option(
        None, "write the recipe that is suggested", flags=("-o",), metavar="RECIPE"
    )
    precision: str = option("w8a8", "what the layers are compared in", choices=("w8a8",))
    apply: pathlib.Path | None = option(
        None,
        "recipe that is debugged and gets the suggested steps; made where it does not exist",
        metavar="RECIPE",
    )
    samples: int = option(
        16, "samples that float and quantized models are compared on", metavar="N"
    )
    bisect: bool = option(
        True, "search the smallest set of layers that restores the outputs, and what helps"
    )
    restore: float | None = option(
        None,
        "signal to quantization noise that the outputs shall have, in dB; by default 10 more "
        "than they have, and not more than 40",
        metavar="DB",
    )
    top: int = option(20, "layers that the table shows, worst first", metavar="N")
    html: pathlib.Path | None = option(
        None, "write a page with plots, which needs no other file", metavar="FILE"
    )
    node_data: pathlib.Path | None = option(
        None, "write the layers' figures for Model Explorer", metavar="FILE"
    )

    def _check(self) -> None:
        if self.precision != "w8a8":
            raise usage(
                "precision",
                f"layers of {self.precision} have nothing to compare",
                hint="leave it out; 'edgecomp quantize --precision auto --save-recipe FILE' "
                "writes the recipe of what auto chose",
            )
        check_range("samples", self.samples, 1, None)
        check_range("top", self.top, 1, None)
        if self.restore is not None and not math.isfinite(self.restore):
            raise usage("restore", f"expected a number of dB, found {self.restore}")
        for name in ("apply", "output"):
            check_recipe_file(name, getattr(self, name))
        files = ("output", "save_recipe", "apply", "html", "node_data")
        check_apart(self, files, folders=("dump_passes",))
        if self.apply is not None and (self.recipe or self.output):
            raise usage("apply", "not together with --recipe or --output")
