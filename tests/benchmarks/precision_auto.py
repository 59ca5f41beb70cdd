"""Times of fp32, w8a8 and auto of models, measured in turns on this machine.

    python tests/benchmarks/precision_auto.py --model net.onnx=calibration.npz --json result.json
    python tests/benchmarks/precision_auto.py --bundles FOLDER --seconds 1

The first form builds ``fp32``, ``w8a8`` and ``auto`` of each model; the second takes bundles that
are there, named ``MODEL_fp32``, ``MODEL_w8a8`` and ``MODEL_auto``. The
bundles take turns on one thread, by its processor time; the table shows the median of the rounds'
ratios.
"""

import contextlib
import json
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.flags import new_parser  # noqa: E402
from benchmarks.machine import processor_facts  # noqa: E402

from edgecomp import api  # noqa: E402
from edgecomp.bench.compare import take_turns  # noqa: E402
from edgecomp.bench.engines import BundleEngine, timed_inputs  # noqa: E402
from edgecomp.bench.statistics import paired_ratio  # noqa: E402
from edgecomp.options import BuildOptions  # noqa: E402

PRECISIONS = ("fp32", "w8a8", "auto")
#: Seconds that a bundle runs in one round.
_TURN_SECONDS = 0.02
_HEADER = (
    "| model | auto is | float layers | fp32 ms | w8a8 ms | auto ms | auto / fp32 | auto / w8a8 "
    "| w8a8 / fp32, priced |"
)


def build(models, target, folder):
    """Bundles of each ``model=calibration`` under ``folder``."""
    for text in models:
        model, _, calibration = text.partition("=")
        name = pathlib.Path(model).stem
        for precision in PRECISIONS:
            options = BuildOptions(
                target=target,
                precision=precision,
                calibration_data=None if precision == "fp32" else calibration,
                output=folder / f"{name}_{precision}",
                force=True,
            )
            api.build(model, options)


def measure(folder, name, seconds):
    """Line of one model: milliseconds and ratios."""
    rounds = max(5, round(seconds / _TURN_SECONDS / len(PRECISIONS)))
    with contextlib.ExitStack() as stack:
        engines = []
        for precision in PRECISIONS:
            bundle = api.open(folder / f"{name}_{precision}")
            engine = BundleEngine(bundle, 1, timed_inputs(bundle))
            engines.append(stack.enter_context(contextlib.closing(engine)))
        turns = take_turns(engines, _TURN_SECONDS, rounds=rounds)
    times = {
        precision: [each.cpu_ns for each in own]
        for precision, own in zip(PRECISIONS, turns, strict=True)
    }
    return {
        "model": name,
        **{f"{p}_ms": min(map(min, own)) / 1e6 for p, own in times.items()},
        "auto_to_fp32": paired_ratio(times["fp32"], times["auto"]).value,
        "auto_to_w8a8": paired_ratio(times["w8a8"], times["auto"]).value,
        **_choice(folder / f"{name}_auto"),
    }


def _choice(bundle):
    facts = json.loads((bundle / "report.json").read_text())["facts"]["precision_choice"]
    prices = {k.removesuffix("_ms"): v for k, v in facts.items() if k.endswith("_ms")}
    return {
        "result": facts["result"],
        "layers_float": facts["layers_that_stay_float"],
        "layers": facts["layers_that_can_be_int8"],
        "priced_int8_to_float": prices["int8"] / prices["float"],
    }


def table(lines):
    """Markdown."""
    rows = [_HEADER, "|---|---|---:|---:|---:|---:|---:|---:|---:|"]
    for line in lines:
        found = line["w8a8_ms"] / line["fp32_ms"]
        rows.append(
            f"| {line['model']} | {line['result']} | {line['layers_float']} of {line['layers']} "
            f"| {line['fp32_ms']:.4f} | {line['w8a8_ms']:.4f} | {line['auto_ms']:.4f} "
            f"| {line['auto_to_fp32']:.2f} | {line['auto_to_w8a8']:.2f} "
            f"| {found:.2f}, {line['priced_int8_to_float']:.2f} |"
        )
    return "\n".join(rows)


def main():
    parser = new_parser(__doc__)
    parser.add_argument("--model", action="append", default=[], metavar="ONNX=CALIBRATION")
    parser.add_argument("--target", default="host")
    parser.add_argument("--bundles", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=2.0, help="per model")
    parser.add_argument("--json", type=pathlib.Path)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = flags.bundles or pathlib.Path(scratch)
        build(flags.model, flags.target, folder)
        names = sorted(p.name.removesuffix("_auto") for p in folder.glob("*_auto"))
        lines = [measure(folder, name, flags.seconds) for name in names]
    print(table(lines))
    if flags.json:
        facts = {"machine": processor_facts(), "target": flags.target, "models": lines}
        flags.json.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
