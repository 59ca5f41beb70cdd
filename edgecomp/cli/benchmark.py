"""``edgecomp benchmark``."""

import json
import pathlib

import click

from edgecomp.cache import write_whole
from edgecomp.cli.bundles import bundle_argument
from edgecomp.cli.flags import with_options
from edgecomp.cli.talk import Talk
from edgecomp.options import BenchmarkOptions
from edgecomp.writable import require_writable_file, writable


@click.command("benchmark")
@bundle_argument
@with_options(BenchmarkOptions)
def command(bundle_path: pathlib.Path, options: BenchmarkOptions, talk: Talk) -> None:
    """Measure a bundle on a device.

    Ends with status 12 when --compare cannot tell which one is faster.
    """
    from edgecomp import api

    if options.result_json is not None:
        require_writable_file(options.result_json)
    with talk.progress() as progress:
        result = api.benchmark(api.open(bundle_path), options, progress)
    if options.result_json is not None:
        with writable(options.result_json):
            text = json.dumps(result.as_dict(), indent=2) + "\n"
            write_whole(options.result_json, text.encode())
    talk.render(result)
    result.require_conclusive()
