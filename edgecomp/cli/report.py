"""``edgecomp report``."""

import pathlib

import click

from edgecomp.cli.bundles import bundle_argument, summary, summary_text
from edgecomp.cli.flags import with_options
from edgecomp.cli.table import size, table
from edgecomp.cli.talk import Talk


@click.command("report")
@bundle_argument
@with_options(None)
def command(bundle_path: pathlib.Path, talk: Talk) -> None:
    """Print what a bundle holds and what was found while it was built."""
    from edgecomp import api

    bundle = api.open(bundle_path)
    calls = bundle.report["calls"]
    rows = [
        (
            call["index"],
            call["operator"],
            "fallback" if call["fallback"] else call["schedule"],
            round(call["multiply_adds"] / 1e6, 2),
            size(call["weights_bytes"]),
            call["source"] or " ".join(call["nodes"]),
        )
        for call in calls
    ]
    header = ("call", "operator", "schedule", "million MACs", "weights", "from")
    parts = [summary_text(summary(bundle)), table(header, rows)]
    stays = bundle.report["facts"].get("layers_that_stay_float", ())
    if stays:
        pairs = [line.partition(": ")[::2] for line in stays]
        parts.append(table(("stays float", "why"), pairs))
    ungrouped = bundle.report["facts"].get("quantization", {}).get("one_scale_per_output")
    if ungrouped:
        parts.append(table(("one scale per output", "why no groups"), list(ungrouped.items())))
    text = "\n\n".join(parts)
    talk.result({**summary(bundle), "report": bundle.report}, text)
