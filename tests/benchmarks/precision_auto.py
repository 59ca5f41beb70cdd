"""Times of fp32, w8a8 and auto of models, measured in turns on this machine.

    python tests/benchmarks/precision_auto.py --model net.onnx=calibration.npz --json result.json
    python tests/benchmarks/precision_auto.py --bundles FOLDER --seconds 1

The first form builds ``fp32``, ``w8a8`` and ``auto`` of each model; the second takes bundles that
are there, named ``MODEL_fp32``, ``MODEL_w8a8`` and ``MODEL_auto``. In every round each bundle runs
for a moment, so that what else the machine does falls on all of them; a ratio is one of times of
the same round, and the table shows the median of the rounds.
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.machine import machine_facts  # noqa: E402

from edgecomp import api  # noqa: E402
from edgecomp.bench.line_process import LineProcess  # noqa: E402
from edgecomp.options import BuildOptions  # noqa: E402

PRECISIONS = ("fp32", "w8a8", "auto")
#: Seconds that a bundle runs in one round.
_TURN_SECONDS = 0.02
_LEAST_RUNS = 3
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
    engines = {precision: _start(folder / f"{name}_{precision}") for precision in PRECISIONS}
    rounds = max(5, round(seconds / _TURN_SECONDS / len(engines)))
    times = {precision: [] for precision in PRECISIONS}
    try:
        for engine in engines.values():
            engine.ask(f"run {_TURN_SECONDS} {_LEAST_RUNS}")
        for _ in range(rounds):
            for precision, engine in engines.items():
                answer = engine.ask(f"run {_TURN_SECONDS} {_LEAST_RUNS}")
                times[precision].append(min(answer["run_ns"]))
    finally:
        for engine in engines.values():
            engine.close()
    return {
        "model": name,
        **{f"{p}_ms": min(values) / 1e6 for p, values in times.items()},
        "auto_to_fp32": _ratio(times["auto"], times["fp32"]),
        "auto_to_w8a8": _ratio(times["auto"], times["w8a8"]),
        **_choice(folder / f"{name}_auto"),
    }


def _start(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    runner = bundle / manifest["build"]["runner"]
    weights = bundle / manifest["weights"]["file"]
    process = LineProcess(
        bundle.name, [str(runner), "--weights", str(weights), "--random-inputs", "--serve"]
    )
    process.answer()
    return process


def _ratio(found, base):
    return statistics.median(a / b for a, b in zip(found, base, strict=True))


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
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
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
        facts = {"machine": machine_facts(), "target": flags.target, "models": lines}
        flags.json.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
