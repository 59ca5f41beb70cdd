"""From a bundle or a model to a cost table."""

import pathlib

from edgecomp.bench.devices import open_device
from edgecomp.bundle.manifest import NAME as MANIFEST
from edgecomp.bundle.reader import open_bundle
from edgecomp.cache_folder import cache_folder
from edgecomp.device.load import HOST, load_target
from edgecomp.options import QuantizeOptions, TuneOptions
from edgecomp.progress import Progress
from edgecomp.schedules.tuned import table_name
from edgecomp.steps.prepare import prepare
from edgecomp.steps.source import errors_about
from edgecomp.tune.result import TuneResult
from edgecomp.tune.session import TuneSettings, require_measurable, tune_model
from edgecomp.writable import require_writable_file


def tune(source: pathlib.Path | str, options: TuneOptions, progress: Progress) -> TuneResult:
    """Measure what the table does not know yet: see ``api.tune``."""
    name, model = options.target, source
    if (pathlib.Path(source) / MANIFEST).is_file():
        bundle = open_bundle(pathlib.Path(source))
        name, model = name or bundle.manifest.target.name, bundle.model_path
    target = load_target(name or HOST)
    folder = (options.cache_dir or cache_folder()) / "tuned"
    output = options.output or folder / table_name(target)
    require_writable_file(output)
    device = open_device(options.device, target)
    require_measurable(target, device)
    given = QuantizeOptions(
        input=options.input,
        bound=options.bound,
        constant=options.constant,
        opset=options.opset,
    )
    with errors_about(source):
        prepared = prepare(model, given, progress, target=target)
    settings = TuneSettings(
        output=output,
        threads=options.num_threads,
        trials=options.trials,
        max_secs=options.max_secs,
        cache=options.cache_dir,
    )
    return tune_model(prepared.model, target, device, settings, progress)
