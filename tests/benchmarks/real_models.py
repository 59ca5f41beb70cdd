"""Task metrics of real models: torch, onnxruntime and edgecomp, float and int8.

    python tests/benchmarks/real_models.py [--models NAME,...] [--json FILE] [--folder DIR]

Prints a markdown table. Models whose packages are not installed are named with the reason.
"""

import json
import pathlib
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.flags import add_list, new_parser  # noqa: E402
from real_models import forms  # noqa: E402
from real_models.catalogue import MODELS  # noqa: E402

from edgecomp import api  # noqa: E402
from edgecomp.errors import EdgecompError  # noqa: E402


def evaluate(model, folder):
    """Figures of every form of one model: form -> name -> value."""
    folder.mkdir(parents=True, exist_ok=True)
    path = model.onnx(folder)
    feeds = model.samples()
    rows = {}
    if model.torch is not None:
        rows["torch"] = {"outputs": model.torch(feeds)}
    expected = forms.onnxruntime_outputs(path, feeds)
    rows["onnxruntime"] = {"outputs": expected}
    for precision in ("fp32", "w8a8"):
        started = time.monotonic()
        bundle = forms.build(model, path, folder, precision)
        seconds = time.monotonic() - started
        row_error = _verified(bundle)
        rows[f"edgecomp {precision}"] = {
            "outputs": forms.bundle_outputs(bundle, feeds),
            "build s": seconds,
            **row_error,
        }
    quantized = forms.onnxruntime_int8(path, model.calibration(), folder)
    rows["onnxruntime int8"] = {"outputs": forms.onnxruntime_outputs(quantized, feeds)}
    return {form: _figures(model, row, expected) for form, row in rows.items()}


def _verified(bundle):
    try:
        api.verify(bundle)
    except EdgecompError as error:
        return {"error": str(error)}
    return {}


def _figures(model, row, expected):
    outputs = row.pop("outputs")
    return {
        **model.score(outputs),
        "dB to float": forms.signal_to_noise(outputs, expected),
        "distance": forms.distance(outputs, expected),
        **row,
    }


def table(results):
    """Markdown lines: one row a model and form."""
    yield "| model | form | task | dB to onnxruntime float |"
    yield "| --- | --- | --- | ---: |"
    for name, rows in results.items():
        for form, figures in rows.items():
            task = ", ".join(
                f"{key} {value:.4g}"
                for key, value in figures.items()
                if isinstance(value, float)
                and key not in ("dB to float", "distance", "build s")
            )
            if "error" in figures:
                task += f"; **{figures['error']}**"
            yield f"| {name} | {form} | {task} | {figures['dB to float']:.1f} |"


def main():
    """Evaluate, print, keep."""
    known = {model.name: model for model in MODELS}
    parser = new_parser(__doc__)
    add_list(parser, "--models", known)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--folder", type=pathlib.Path)
    arguments = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or pathlib.Path(scratch)
        for name in arguments.models:
            if reason := known[name].missing():
                print(f"{name}: {reason}", file=sys.stderr)
                continue
            results[name] = evaluate(known[name], folder / name)
            for line in list(table({name: results[name]}))[2:]:
                print(line, file=sys.stderr)
    print("\n".join(table(results)))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
