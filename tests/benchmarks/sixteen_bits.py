"""Distance to float and time of a model in precisions with 16-bit integers, beside float and int8.

    python tests/benchmarks/sixteen_bits.py build FOLDER MODEL.onnx SAMPLES.npy [--forms fp32,w8a8]
    python tests/benchmarks/sixteen_bits.py measure FOLDER [--forms fp32,w8a8]

``build`` makes bundles for this machine, calibrated on all samples but the last ones, and prints the
signal to noise ratio of the outputs for the last ones, which no range was chosen by; ``measure`` runs
the bundles in turns, one thread, and prints bytes and medians.
"""

import argparse
import pathlib
import statistics

import numpy as np

from edgecomp import api
from edgecomp.graph.run import Runner
from edgecomp.options import BenchmarkOptions, BuildOptions

_FORMS = ("fp32", "w8a8", "w8a16-int", "w16a8", "w16a16-int")
_HELD_BACK = 4
_ROUNDS = 5


def build(folder, model, samples, forms):
    """A bundle per form."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = api.export(str(model))
    (name,) = (value.name for value in plain.graph.inputs)
    rows = [{name: row} for row in np.load(samples)]
    float_model = Runner(plain)
    wanted = [float_model(row) for row in rows[-_HELD_BACK:]]
    for form in forms:
        options = BuildOptions(precision=form, output=folder / form, force=True)
        dataset = None if form == "fp32" else rows[:-_HELD_BACK]
        bundle = api.build(str(model), options, calibration_dataset=dataset)
        found = [bundle.run(row) for row in rows[-_HELD_BACK:]]
        gain = bundle.report["facts"].get("gain", {}).get("summary", "")
        print(f"{form}: {_ratio(wanted, found):.1f} dB; {gain}", flush=True)


def _ratio(wanted, found):
    """Signal to noise of all outputs together."""
    signal = noise = 0.0
    for real, other in zip(wanted, found, strict=True):
        for name, array in real.items():
            signal += float((array.astype(np.float64) ** 2).sum())
            noise += float(((array.astype(np.float64) - other[name]) ** 2).sum())
    return 10 * np.log10(signal / noise) if noise else np.inf


def measure(folder, forms):
    """Medians in turns."""
    bundles = {form: api.open(folder / form) for form in forms}
    options = BenchmarkOptions(num_runs=15, warmup_runs=3, max_secs=1.0)
    times = {form: [] for form in forms}
    for _ in range(_ROUNDS):
        for form, bundle in bundles.items():
            times[form].append(api.benchmark(bundle, options).measurement.wall.p50_ns / 1e6)
    base = statistics.median(times["fp32"])
    print(
        "| form | weights, bytes | arena, bytes | ms | of float's time |\n|---|---:|---:|---:|---:|"
    )
    for form, bundle in bundles.items():
        sizes, median = bundle.report["sizes"], statistics.median(times[form])
        print(f"| {form} | {sizes['weights']} | {bundle.report['memory']['arena_bytes']} | {median:.3f} "
              f"| {median / base:.2f} |")  # fmt: skip


def main():
    """Run one of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("build", "measure"))
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path, nargs="?")
    parser.add_argument("samples", type=pathlib.Path, nargs="?")
    parser.add_argument("--forms", default=",".join(_FORMS))
    given = parser.parse_args()
    forms = given.forms.split(",")
    if given.step == "build":
        build(given.folder, given.model, given.samples, forms)
    else:
        measure(given.folder, forms)


if __name__ == "__main__":
    main()
