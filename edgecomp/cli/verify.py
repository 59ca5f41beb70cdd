"""``edgecomp verify``."""

import pathlib

import click

from edgecomp.cli.bundles import bundle_argument
from edgecomp.cli.flags import with_options
from edgecomp.cli.talk import Talk
from edgecomp.options import VerifyOptions


@click.command("verify")
@bundle_argument
@with_options(VerifyOptions)
def command(bundle_path: pathlib.Path, options: VerifyOptions, talk: Talk) -> None:
    """Compare a bundle's results on a device with its golden vectors.

    Every file is compared with its hash first. Integer outputs have to be equal, float outputs
    within the tolerance of docs/numerics.md; status 7 when they are not.
    """
    from edgecomp import api

    bundle = api.open(bundle_path)
    talk.render(
        api.verify(bundle, options.device, num_threads=options.num_threads, plan=options.plan)
    )
