"""What can be found out about a model: what runs how, what loses accuracy, what is fastest."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgecomp.api.arguments import require_by_name, target_of
from edgecomp.device.load import load_target
from edgecomp.device.target import Target
from edgecomp.options import DebugOptions, TuneOptions
from edgecomp.progress import Progress, silent
from edgecomp.steps.source import errors_about

# Everything that is heavy to import is imported where it is used: `edgecomp --help` and
# `edgecomp targets` come through here too.
if TYPE_CHECKING:
    from edgecomp.debugging.result import DebugReport
    from edgecomp.lower.check_report import CheckReport
    from edgecomp.tune.result import TuneResult


def check(
    model: Any,
    targets: Sequence[Target | str],
    inputs: Sequence[str] = (),
    constants: Sequence[str] = (),
    bounds: Sequence[str] = (),
) -> "CheckReport":
    """Say which operators of a model run how on which target; compiles nothing.

    Args:
        model: as for ``build``.
        targets: names or targets.
        inputs: shapes as for ``--input``.
        constants: contents as for ``--constant``.
        bounds: as for ``--bound``.
    """
    from edgecomp.steps.check import check as look_at

    wanted = [t if isinstance(t, Target) else load_target(t) for t in targets]
    with errors_about(model):
        return look_at(model, wanted, inputs, constants, bounds)


def debug(
    model: Any,
    calibration_dataset: Any = None,
    *,
    options: DebugOptions | None = None,
    progress: Progress = silent,
    args: Sequence[Any] | None = None,
) -> "DebugReport":
    """Find the layers that a quantized model loses its accuracy in, and what helps.

    Args:
        model: float, as for ``build``.
        calibration_dataset: samples that can be read twice (see ``calibrate.readers``), where
            ``options.calibration_data`` is not given.
        options: how it is quantized, what is searched, and which files are written.
        progress: told about every step.
        args: example inputs of a torch module.

    Raises:
        EdgecompError: what ``steps.debug.debug`` raises; OUTPUT_EXISTS, OUTPUT_UNWRITABLE.
    """
    from edgecomp.steps.debug import debug as find_layers
    from edgecomp.steps.debug_files import require_writable, write_files

    require_by_name(calibration_dataset)
    options = options or DebugOptions()
    require_writable(options, model)
    target = target_of(options)
    with errors_about(model):
        report = find_layers(
            model, options, progress, args=args, dataset=calibration_dataset, target=target
        )
    write_files(report, options)
    return report


def tune(
    source: pathlib.Path | str, options: TuneOptions | None = None, progress: Progress = silent
) -> "TuneResult":
    """Measure the kernels of a model's layers on a device, into a cost table.

    Args:
        source: a bundle, or a model as for ``build``, float or quantized.
        options: where, how long and into which file.
        progress: told about every layer.

    Raises:
        EdgecompError: USAGE, DEVICE_UNREACHABLE, DEVICE_FAILED, COST_TABLE_INVALID.
    """
    from edgecomp.steps.tune import tune as measure_layers

    return measure_layers(source, options or TuneOptions(), progress)
