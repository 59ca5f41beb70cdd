"""Whole models on this machine, each timed in turns with onnxruntime.

    python tests/benchmarks/models.py --models mobilenet_v2,resnet50 --threads 1,2 \\
        --precision fp32,w8a8 --json result.json

Every line compares two processes that run the same ONNX file, float or QDQ. With one thread the
processor's time counts, with more the clock's; the ratio is the time of onnxruntime divided by
that of the bundle, with its 95 % interval over the rounds.
"""

import argparse
import dataclasses
import datetime as dt
import functools
import json
import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import onnxruntime  # noqa: E402
import torch  # noqa: E402
import tvm  # noqa: E402
from benchmarks.machine import machine_facts  # noqa: E402
from helpers import models as trained  # noqa: E402
from helpers.classifiers import CLASSIFIERS, classifier, synthetic_inputs  # noqa: E402

import edgecomp  # noqa: E402
from edgecomp import api  # noqa: E402
from edgecomp.bench.compare import compare_engines  # noqa: E402
from edgecomp.bench.local import local_device  # noqa: E402
from edgecomp.bench.runner import MeasureOptions  # noqa: E402

_CALIBRATION_SAMPLES = 8
_HEADER = (
    "model",
    "precision",
    "threads",
    "edgecomp ms",
    "onnxruntime ms",
    "times as fast",
    "95 %",
    "G multiply-adds/s",
    "share of float peak",
    "peak memory MiB",
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model to time.

    Attributes:
        load: gives the onnx_ir model.
        samples: gives arrays of its input's shape, for calibration.
    """

    load: object
    samples: object


def entries():
    """Name -> entry; nothing is loaded yet."""
    found = {
        "efficientnet_lite0": Entry(
            trained.efficientnet,
            lambda: [image[None] for image in trained.imagenet_images()[0]],
        ),
        "digits": Entry(
            trained.digits, lambda: [image[None] for image in trained.digits_data()[2]]
        ),
    }
    for name in CLASSIFIERS:
        found[name] = Entry(
            functools.partial(classifier, name),
            functools.partial(synthetic_inputs, name, _CALIBRATION_SAMPLES, seed=2),
        )
    return found


def build(name, entry, precision, folder):
    """The bundle of one model."""
    model = entry.load().clone()
    if precision != "fp32":
        port = model.graph.inputs[0].name
        model = api.quantize(model, [{port: array} for array in entry.samples()])
    output = folder / f"{name}_{precision}"
    return api.compile(model, output=output, name=name, force=True)


def compare(bundle, threads, seconds):
    """One line of the result."""
    settings = MeasureOptions(threads=threads)
    load_average = os.getloadavg()[0]
    (comparison,) = compare_engines(
        bundle, local_device(), ["onnxruntime"], settings, max_seconds=seconds
    )
    alone = local_device().measure(bundle, MeasureOptions(threads=threads, max_secs=1.0))
    return {
        "threads": threads,
        "clock": comparison.clock,
        "edgecomp_ms": comparison.own.p50_ns / 1e6,
        "onnxruntime_ms": comparison.other.p50_ns / 1e6,
        "ratio": dataclasses.asdict(comparison.ratio),
        "multiply_adds": bundle.report["coverage"]["multiply_adds"],
        "fallback_calls": bundle.report["coverage"]["fallback_calls"],
        "load_ms": alone.load_ns / 1e6,
        "first_run_ms": alone.first_run_ns / 1e6,
        "peak_rss_bytes": alone.peak_rss_bytes,
        "load_average": load_average,
    }


def markdown(result):
    """The result as a table."""
    peak = result["machine"].get("float32 G multiply-adds/s")
    lines = [_HEADER, ["---"] * 3 + ["---:"] * (len(_HEADER) - 3)]
    for row in result["rows"]:
        ratio = row["ratio"]
        rate = row["multiply_adds"] / row["edgecomp_ms"] / 1e6
        known = peak and row["precision"] == "fp32" and row["threads"] == 1
        cells = (
            row["model"],
            row["precision"],
            str(row["threads"]),
            f"{row['edgecomp_ms']:.3f}",
            f"{row['onnxruntime_ms']:.3f}",
            f"**{ratio['value']:.2f}**",
            f"{ratio['low']:.2f} to {ratio['high']:.2f}",
            f"{rate:.1f}",
            f"{rate / peak:.0%}" if known else "",
            f"{row['peak_rss_bytes'] / 2**20:.1f}",
        )
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def versions():
    """What was compared with what."""
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "edgecomp": edgecomp.__version__,
        "onnxruntime": onnxruntime.__version__,
        "tvm": tvm.__version__,
        "torch": torch.__version__,
    }


def main():
    """Measure what the flags ask for."""
    known = entries()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    split = functools.partial(str.split, sep=",")
    parser.add_argument("--models", type=split, default=list(known), help=", ".join(known))
    parser.add_argument("--threads", type=split, default=["1"])
    parser.add_argument("--precision", type=split, default=["fp32", "w8a8"])
    parser.add_argument("--seconds", type=float, default=20, help="for each line")
    parser.add_argument("--json", type=pathlib.Path, help="write everything measured")
    parser.add_argument("--keep", type=pathlib.Path, help="folder that keeps the bundles")
    flags = parser.parse_args()
    if unknown := sorted(set(flags.models) - set(known)):
        parser.error(f"unknown models {', '.join(unknown)}; known: {', '.join(known)}")
    result = {"machine": machine_facts(), "versions": versions(), "rows": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = flags.keep or pathlib.Path(scratch)
        for name in flags.models:
            for precision in flags.precision:
                bundle = build(name, known[name], precision, folder)
                for threads in map(int, flags.threads):
                    row = compare(bundle, threads, flags.seconds)
                    result["rows"].append({"model": name, "precision": precision, **row})
                    print(json.dumps(result["rows"][-1]), file=sys.stderr, flush=True)
    if flags.json:
        flags.json.write_text(json.dumps(result, indent=2) + "\n")
    for key, value in {**result["machine"], **result["versions"]}.items():
        print(f"{key}: {value}")
    print(f"\n{markdown(result)}")


if __name__ == "__main__":
    main()
