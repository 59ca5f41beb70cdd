"""Options of how an image becomes an input."""

import dataclasses
import math

from edgecomp.options.option import Options, check_range, option, usage


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageOptions(Options):
    """How an image becomes an input: resize, crop the centre, scale to 0..1, normalize."""

    mean: tuple[float, ...] = option(
        (), "subtracted from each channel of an image whose pixels are 0..1", metavar="R,G,B"
    )
    std: tuple[float, ...] = option(
        (), "each channel of an image is divided by it, after --mean", metavar="R,G,B"
    )
    resize: int | None = option(
        None,
        "pixels of an image's shorter side before its centre is cropped; 0 stretches it to the "
        "input; by default the crop keeps 7/8, and an image of the input's size is taken as it is",
        metavar="PIXELS",
    )

    def _check(self) -> None:
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) not in (0, 1, 3, 4):
                raise usage(name, f"expected 1, 3 or 4 numbers, found {len(values)}")
        if not all(abs(value) <= 1 for value in self.mean):
            raise usage("mean", "pixels are 0..1 before it", hint="divide mean and std by 255")
        if not all(0 < value < math.inf for value in self.std):
            raise usage("std", "expected positive numbers")
        if self.resize is not None:
            check_range("resize", self.resize, 0, 16384)
