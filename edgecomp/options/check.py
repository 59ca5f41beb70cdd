"""Options of saying what runs how, without compiling."""

import dataclasses
import pathlib

from edgecomp.options.model import ModelOptions
from edgecomp.options.option import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckOptions(ModelOptions):
    """Which operators of a model run how on which target."""

    target: tuple[str, ...] = option(
        (), "target to look at, by default all of them and the host", flags=("-t",)
    )
    sarif: pathlib.Path | None = option(
        None,
        "also write all problems as SARIF 2.1.0, for code hosts and editors",
        metavar="FILE",
    )
