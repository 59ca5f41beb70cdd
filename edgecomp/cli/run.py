"""``edgecomp run``."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import click

from edgecomp.cli.bundles import bundle_argument
from edgecomp.cli.flags import with_options
from edgecomp.cli.table import table
from edgecomp.cli.talk import Talk
from edgecomp.options import VERB_DEFAULTS, RunOptions
from edgecomp.writable import require_writable_folder, writable

#: Values of an output that are shown to people.
_SHOWN = 6


@click.command("run")
@bundle_argument
@with_options(RunOptions, presets=VERB_DEFAULTS["run"])
def command(bundle_path: pathlib.Path, options: RunOptions, talk: Talk) -> None:
    """Run a bundle once.

    Prints the outputs, or with --labels the names of the best classes.
    """
    from edgecomp import api
    from edgecomp.cli.inputs import read_inputs
    from edgecomp.cli.labels import best, read_labels

    if options.output is not None:
        require_writable_folder(options.output)
    labels = read_labels(options.labels) if options.labels else []
    bundle = api.open(bundle_path)
    inputs = read_inputs(options.input_file, bundle.inputs, options)
    outputs = api.run(
        bundle, inputs, options.device, num_threads=options.num_threads, plan=options.plan
    )
    files = _save(outputs, options.output)
    facts = {"outputs": [_fact(n, a, files.get(n)) for n, a in outputs.items()]}
    if not labels:
        talk.result(facts, _text(outputs, files))
        return
    guesses = best(outputs, labels, options.top)
    facts["top"] = [dataclasses.asdict(guess) for guess in guesses]
    rows = [(f"{g.score:.6g}", g.index, g.label) for g in guesses]
    talk.result(facts, table(("score", "class", "label"), rows))


def _save(outputs: Mapping[str, Any], folder: pathlib.Path | None) -> dict[str, str]:
    """Write each output as ``.npy``; output name -> path."""
    if folder is None:
        return {}
    import io

    import numpy as np

    from edgecomp.cache import write_whole
    from edgecomp.cli.files import safe_names

    files = {}
    with writable(folder):
        for name, stem in zip(outputs, safe_names(outputs), strict=True):
            path = folder / f"{stem}.npy"
            content = io.BytesIO()
            np.save(content, outputs[name])
            write_whole(path, content.getvalue())
            files[name] = str(path)
    return files


def _fact(name: str, array: Any, file: str | None) -> dict[str, Any]:
    fact = {"name": name, "dtype": str(array.dtype), "shape": list(array.shape)}
    return fact | ({"file": file} if file else {"values": array.tolist()})


def _text(outputs: Mapping[str, Any], files: Mapping[str, str]) -> str:
    rows = []
    for name, array in outputs.items():
        flat = array.reshape(-1)
        values = flat[:_SHOWN].tolist()
        first = " ".join(f"{v:.6g}" if isinstance(v, float) else str(v) for v in values)
        more = " ..." if flat.size > _SHOWN else ""
        dims = "x".join(map(str, array.shape)) or "scalar"
        rows.append((name, str(array.dtype), dims, files.get(name, first + more)))
    return table(("output", "dtype", "shape", "file" if files else "values"), rows)
