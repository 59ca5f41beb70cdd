"""Options of measuring kernels."""

import dataclasses
import pathlib

from edgecomp.options.device import DeviceOptions
from edgecomp.options.model import ModelOptions
from edgecomp.options.option import check_range, option, usage


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneOptions(DeviceOptions, ModelOptions):
    """Which kernels of a model are measured, where and for how long."""

    output: pathlib.Path | None = option(
        None,
        "cost table to extend, by default TARGET.json in the folder 'tuned' of the cache",
        flags=("-o",),
        metavar="FILE",
    )
    target: str = option(
        "",
        "target whose kernels are measured, by default that of the bundle, else host",
        flags=("-t",),
    )
    trials: int = option(15, "how often each kernel is measured", metavar="N")
    max_secs: float = option(
        0.0, "begin no further layer after this many seconds; 0: measure all"
    )
    cache_dir: pathlib.Path | None = option(
        None,
        "where compiled kernels are kept, by default $EDGECOMP_CACHE_DIR or the user's cache "
        "folder",
        metavar="DIR",
    )

    def _check(self) -> None:
        check_range("trials", self.trials, 3, 10_000)
        if not self.max_secs >= 0:
            raise usage("max_secs", "expected a positive number, or 0")
