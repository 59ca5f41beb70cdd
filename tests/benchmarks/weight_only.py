"""What weight-only quantization takes from a language model, and what it gives.

    python tests/benchmarks/language_model.py train FOLDER
    python tests/benchmarks/weight_only.py FOLDER [--samples 64] [--bits 8,4,3,2] [--seeds 5]
        [--peer-python PYTHON] [--json FILE]

Prints bits per character of the test text: an n-gram model's, the float model's, and those of
the model with weights rounded to nearest, by GPTQ and by llm-compressor's GPTQ, each for the same
calibration rows; then means over the seeds with their standard errors, and those of the paired
differences to llm-compressor. With ``--json`` rows that the file has are not measured again.
Models are run by onnxruntime with its optimizer off, which computes what the portable file says.
"""

import argparse
import dataclasses
import json
import pathlib
import subprocess
import tempfile

import numpy as np
from language_model import CONTEXT, TOKENS, bits_per_character, read_tokens, windows_of
from language_ngram import NgramModel
from language_text import ALPHABET, read_text

from edgecomp.graph.portable import serialize
from edgecomp.graph.run import Runner
from edgecomp.options import QuantizeOptions
from edgecomp.progress import silent
from edgecomp.steps.prepare import prepare

_NGRAM_ORDERS = (5, 6, 8)
_PRECISIONS = {8: "w8a16", 4: "w4a16", 3: "w3a16", 2: "w2a16"}


def ngram_bits(texts, test, windows):
    """Bits per character of n-gram models on the characters that the others are judged by."""
    tokens, lengths = test
    starts, _ = windows_of(tokens, windows)
    ends = np.cumsum(lengths)
    half = CONTEXT // 2
    places = np.concatenate(
        [np.arange(ends[s + half], ends[s + CONTEXT]) for s in starts.tolist()]
    )
    text = texts["test"].astype(np.int64)
    return {
        order: NgramModel(texts["training"], len(ALPHABET), order).bits(text, places)
        for order in _NGRAM_ORDERS
    }


def calibration_of(training, samples, seed):
    """Rows of tokens of the training text."""
    starts = np.random.default_rng(seed).integers(0, len(training) - CONTEXT, samples)
    return [{"tokens": training[s : s + CONTEXT][None]} for s in starts]


def logits_of(model):
    """``logits_of`` of an onnx_ir model."""
    runner = Runner(model)
    (name,) = runner.names
    return lambda rows: runner({"tokens": rows})[name]


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to choose weights.

    Attributes:
        name: in the table.
        tool: ``edgecomp`` or ``llm-compressor``.
        settings: of the tool.
        paired: whether it is compared with every method of llm-compressor.
    """

    name: str
    tool: str
    settings: dict
    paired: bool = False


def methods_of(arguments):
    """All that is asked for."""
    ranges = arguments.ranges.split(",")
    found = [
        Method(f"rtn, {r}", "edgecomp", {"method": "rtn", "weight_ranges": r}) for r in ranges
    ]
    found += [
        Method(f"gptq, {r}", "edgecomp", {"method": "gptq", "weight_ranges": r}, paired=True)
        for r in ranges
    ]
    if arguments.peer_python:
        for each in arguments.peer.split(","):
            order, damping, observer = each.split(":")
            settings = {"actorder": order, "damping": float(damping), "observer": observer}
            name = f"llm-compressor, actorder {order}, damping {damping}, {observer}"
            found.append(Method(name, "llm-compressor", settings))
    return found


def methods_with_data(methods):
    """Those that another calibration set makes other weights with."""
    return [method for method in methods if method.settings.get("method") != "rtn"]


def by_edgecomp(arguments, bits, method, data, test):
    """A row of the table."""
    options = QuantizeOptions(
        precision=_PRECISIONS[bits], group_size=arguments.group,
        symmetric=not arguments.asymmetric, num_samples=len(data), **method.settings,
    )  # fmt: skip
    path = str(arguments.folder / "model.onnx")
    found = prepare(path, options, silent, dataset=data)
    judged = bits_per_character(logits_of(found.model), test, arguments.windows)
    errors = [layer["error"] for layer in found.facts["weights"]]
    return {
        "bits_per_character": judged, "error": float(np.mean(errors)),
        "bytes": _size(found.model),
    }  # fmt: skip


def by_peer(arguments, bits, method, data):
    """The same by llm-compressor, on the same rows."""
    script = pathlib.Path(__file__).with_name("weight_only_peer.py")
    with tempfile.TemporaryDirectory() as place:
        rows = pathlib.Path(place) / "rows.npy"
        np.save(rows, np.concatenate([feed["tokens"] for feed in data]))
        settings = {
            **method.settings, "bits": bits, "group": arguments.group,
            "windows": arguments.windows, "symmetric": not arguments.asymmetric,
        }  # fmt: skip
        command = [
            arguments.peer_python, script, arguments.folder, rows, json.dumps(settings),
        ]  # fmt: skip
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Print the tables."""
    arguments = _arguments()
    tokens = read_tokens(arguments.folder)
    test, training = tokens["test"], tokens["training"][0]
    if not arguments.no_ngram:
        for order, bits in ngram_bits(read_text(), test, arguments.windows).items():
            print(f"n-grams of order {order}: {bits:.4f} bits per character", flush=True)
    source = arguments.folder / "model.onnx"
    plain = prepare(str(source), QuantizeOptions(), silent).model
    whole, size = bits_per_character(logits_of(plain), test, arguments.windows), _size(plain)
    print(f"float32: {whole:.4f} bits per character, {size} bytes")
    print("\n| bits | method | seed | bits per character | more | layers' error | bytes |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    methods, path = methods_of(arguments), arguments.json
    known = json.loads(path.read_text())["rows"] if path and path.exists() else []
    same = {
        "samples": arguments.samples, "windows": arguments.windows, "group": arguments.group,
        "symmetric": not arguments.asymmetric,
    }  # fmt: skip
    rows = []
    for bits in map(int, arguments.bits.split(",")):
        for seed in range(arguments.seeds):
            data = calibration_of(training, arguments.samples, seed)
            for method in methods if seed == 0 else methods_with_data(methods):
                key = {"bits": bits, "method": method.name, "seed": seed, **same}
                row = next((r for r in known if key.items() <= r.items()), None)
                if row is None:
                    if method.tool == "edgecomp":
                        found = by_edgecomp(arguments, bits, method, data, test)
                    else:
                        found = by_peer(arguments, bits, method, data)
                    row = {**key, **found}
                    known.append(row)
                    if path:
                        facts = {"float32": whole, "bytes": size, "tokens": TOKENS}
                        path.write_text(json.dumps({**facts, "rows": known}, indent=1))
                rows.append(row)
                more = row["bits_per_character"] - whole
                print(f"| {bits} | {method.name} | {seed} | {row['bits_per_character']:.4f} "
                      f"| {more:+.4f} | {row.get('error', 0):.2e} | {row.get('bytes', '')} |",
                      flush=True)  # fmt: skip
    _summary(rows, methods, whole)


def _summary(rows, methods, whole):
    """Means over the seeds, and of the paired differences to each method of the peer."""
    peers = [method for method in methods if method.tool != "edgecomp"]
    print("\n| bits | method | lost, bits per character | "
          + "".join(f"less {peer.name} | " for peer in peers))  # fmt: skip
    print("|---:|---|---:|" + "---:|" * len(peers))
    for bits in dict.fromkeys(row["bits"] for row in rows):
        lost = {
            method.name: np.array([
                row["bits_per_character"] - whole
                for row in rows
                if (row["bits"], row["method"]) == (bits, method.name)
            ])
            for method in methods
        }  # fmt: skip
        for method in methods:
            pairs = [
                _mean(lost[method.name] - lost[peer.name]) if method.paired else ""
                for peer in peers
            ]
            print(f"| {bits} | {method.name} | {_mean(lost[method.name])} | "
                  + "".join(f"{pair} | " for pair in pairs))  # fmt: skip


def _mean(numbers):
    """With its standard error, where there are several."""
    mean = f"{numbers.mean():+.4f}"
    if len(numbers) < 2 or np.ptp(numbers) == 0:
        return mean
    return f"{mean} ± {numbers.std(ddof=1) / np.sqrt(len(numbers)):.4f}"


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--samples", type=int, default=64, help="rows to calibrate with")
    parser.add_argument("--bits", default="8,4,3,2")
    parser.add_argument("--group", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=5, help="calibration sets")
    parser.add_argument("--windows", type=int, default=200, help="of the test text")
    parser.add_argument("--asymmetric", action="store_true", help="both tools")
    parser.add_argument("--ranges", default="mse,minmax", help="of edgecomp")
    parser.add_argument("--no-ngram", action="store_true")
    parser.add_argument(
        "--peer-python", help="a Python that has llmcompressor: compare with it"
    )
    parser.add_argument(
        "--peer", default="weight:0.01:memoryless_minmax",
        help="of llm-compressor: order of rows (weight, none), damping and observer, after commas",
    )  # fmt: skip
    parser.add_argument("--json", type=pathlib.Path)
    return parser.parse_args()


def _size(model):
    return len(serialize(model)[0])


if __name__ == "__main__":
    main()
