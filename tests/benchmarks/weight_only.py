"""What weight-only quantization takes from a language model, and what it gives.

    python tests/benchmarks/language_model.py train FOLDER
    python tests/benchmarks/weight_only.py FOLDER [--samples 128] [--bits 8,4,3,2] [--seeds 3]
        [--peer-python PYTHON]

Prints bits per character of the test text: an n-gram model's, the float model's, and those of
the model with weights rounded to nearest and by GPTQ, with the mean error of its layers. Models
are run by onnxruntime with its optimizer off, which computes what the portable file says.
"""

import argparse
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


def by_edgecomp(arguments, bits, method, data, test):
    """A row of the table."""
    options = QuantizeOptions(
        precision=_PRECISIONS[bits], method=method, group_size=arguments.group,
        symmetric=not arguments.asymmetric, weight_ranges=arguments.ranges,
        num_samples=len(data),
    )  # fmt: skip
    path = str(arguments.folder / "model.onnx")
    found = prepare(path, options, silent, dataset=data)
    judged = bits_per_character(logits_of(found.model), test, arguments.windows)
    errors = [layer["error"] for layer in found.facts["weights"]]
    return {
        "bits_per_character": judged, "error": float(np.mean(errors)),
        "bytes": _size(found.model),
    }  # fmt: skip


def by_peer(arguments, bits, data):
    """The same by llm-compressor, on the same rows."""
    script = pathlib.Path(__file__).with_name("weight_only_peer.py")
    with tempfile.TemporaryDirectory() as place:
        rows = pathlib.Path(place) / "rows.npy"
        np.save(rows, np.concatenate([feed["tokens"] for feed in data]))
        numbers = map(str, (bits, arguments.group, arguments.windows))
        command = [arguments.peer_python, script, arguments.folder, rows, *numbers]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--samples", type=int, default=128, help="rows to calibrate with")
    parser.add_argument("--bits", default="8,4,3,2")
    parser.add_argument("--group", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=1, help="calibration sets")
    parser.add_argument("--windows", type=int, default=200, help="of the test text")
    parser.add_argument("--asymmetric", action="store_true")
    parser.add_argument("--ranges", default="mse")
    parser.add_argument("--no-ngram", action="store_true")
    parser.add_argument(
        "--peer-python", help="a Python that has llmcompressor: compare with it"
    )
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
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
    rows = []
    for bits in map(int, arguments.bits.split(",")):
        methods = ["rtn", "gptq", *(["llm-compressor"] if arguments.peer_python else [])]
        for method in methods:
            for seed in range(1 if method == "rtn" else arguments.seeds):
                data = calibration_of(training, arguments.samples, seed)
                if method == "llm-compressor":
                    row = by_peer(arguments, bits, data)
                else:
                    row = by_edgecomp(arguments, bits, method, data, test)
                rows.append({"bits": bits, "method": method, "seed": seed, **row})
                more = row["bits_per_character"] - whole
                print(f"| {bits} | {method} | {seed} | {row['bits_per_character']:.4f} "
                      f"| {more:+.4f} | {row.get('error', 0):.2e} | {row.get('bytes', '')} |",
                      flush=True)  # fmt: skip
    if arguments.json:
        facts = {"float32": whole, "bytes": size, "tokens": TOKENS, "rows": rows}
        arguments.json.write_text(json.dumps(facts, indent=1))


def _size(model):
    return len(serialize(model)[0])


if __name__ == "__main__":
    main()
