"""Options of measuring a bundle."""

import dataclasses
import pathlib

from edgecomp.options.device import PlanOptions
from edgecomp.options.option import check_choice, check_range, option, set_field, usage

COMPARISONS = ("onnxruntime", "openvino", "litert", "executorch", "ncnn", "mnn")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(PlanOptions):
    """How long a bundle takes."""

    warmup_runs: int = option(5, "runs before the measured ones", metavar="N")
    num_runs: int = option(100, "measured runs at most", metavar="N")
    max_secs: float = option(30.0, "stop measuring after this many seconds")
    shape: tuple[str, ...] = option(
        (),
        "shape of an input with dynamic dimensions that is measured, by default the largest",
        metavar="NAME:1x16",
    )
    compare: tuple[str, ...] = option(
        (),
        "measure other runtimes too, in turns with the bundle; names with commas between",
        choices=COMPARISONS,
    )
    peer_python: tuple[str, ...] = option(
        (),
        "Python interpreter that has a runtime of --compare; their packages exclude each other, "
        "so that each may need a virtual environment of its own",
        metavar="ENGINE=PATH",
    )
    peer_model: tuple[str, ...] = option(
        (),
        "model in the form of a runtime of --compare, instead of a conversion",
        metavar="ENGINE=FILE",
    )
    enable_op_profiling: bool = option(False, "time every kernel call")
    result_json: pathlib.Path | None = option(
        None, "write the result into this file", metavar="FILE"
    )

    def _check(self) -> None:
        check_range("warmup_runs", self.warmup_runs, 0, None)
        check_range("num_runs", self.num_runs, 1, None)
        if not self.max_secs > 0:
            raise usage("max_secs", "expected a positive number")
        names = [name for part in self.compare for name in part.split(",")]
        for name in names:
            check_choice("compare", name, COMPARISONS)
        set_field(self, "compare", tuple(dict.fromkeys(names)))
        for given in ("peer_python", "peer_model"):
            for name, value in self.by_engine(given).items():
                check_choice(given, name, COMPARISONS)
                if not value:
                    raise usage(given, f"'{name}': the form is ENGINE=PATH")

    def by_engine(self, given: str) -> dict[str, str]:
        """``peer_python`` or ``peer_model``: engine to what was given for it."""
        pairs = (text.partition("=") for text in getattr(self, given))
        return {name: value for name, _, value in pairs}
