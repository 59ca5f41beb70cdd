"""One model quantized to 8 bits by one tool, in whichever interpreter has that tool.

    python tests/benchmarks/quantize_by.py onnxruntime FLOAT.onnx FEEDS.npz RESULT.onnx SETTING

FEEDS has arrays named INDEX:INPUT. SETTING is the name of one of the tool's settings below.
"""

import json
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks.flags import new_parser
from helpers.onnxruntime_quantizer import quantize_by_onnxruntime

#: Operators with weights: what is quantized where a model's others lose too much, or where
#: onnxruntime's tool fails on them.
PRODUCTS = ("Conv", "MatMul", "Gemm")

#: What each tool can be told that may change accuracy.
SETTINGS = {
    "onnxruntime": {
        f"{method}, {'per channel' if per_channel else 'per tensor'}"
        f"{', symmetric' * symmetric}{', products alone' * bool(operators)}": {
            "method": method,
            "per_channel": per_channel,
            "symmetric": symmetric,
            "operators": operators,
        }
        for method in ("MinMax", "Percentile", "Entropy")
        for per_channel, operators in ((True, ()), (False, ()), (True, PRODUCTS))
        for symmetric in (False, True)
    },
    "nncf": {
        f"{preset}{', transformer' * transformer}{', accurate bias' * accurate}": {
            "preset": preset,
            "transformer": transformer,
            "accurate": accurate,
        }
        for preset in ("PERFORMANCE", "MIXED")
        for transformer in (False, True)
        for accurate in (False, True)
    },
}


def by_onnxruntime(source, feeds, result, *, method, per_channel, symmetric, operators):
    """``quantize_static`` with signed or unsigned activations, of some operators or of all."""
    from onnxruntime.quantization import CalibrationMethod, QuantType

    # Histograms need whole outputs, which would fill the memory; extremes are small, and are lost
    # where the limit is reached with the last sample.
    limits = {} if method == "MinMax" else {"CalibMaxIntermediateOutputs": 8}
    quantize_by_onnxruntime(
        source,
        feeds,
        result,
        per_channel=per_channel,
        op_types_to_quantize=list(operators) or None,
        activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        calibrate_method=getattr(CalibrationMethod, method),
        extra_options={"ActivationSymmetric": symmetric, **limits},
    )


def by_nncf(source, feeds, result, *, preset, transformer, accurate):
    """``nncf.quantize`` of the ONNX model."""
    import nncf
    import onnx

    model = nncf.quantize(
        onnx.load(source),
        nncf.Dataset(feeds),
        preset=getattr(nncf.QuantizationPreset, preset),
        subset_size=len(feeds),
        fast_bias_correction=not accurate,
        model_type=nncf.ModelType.TRANSFORMER if transformer else None,
    )
    onnx.save(model, result)


def load_feeds(path):
    """Feeds as ``save_feeds`` wrote them."""
    found = {}
    with np.load(path) as arrays:
        for key in arrays.files:
            index, name = key.split(":", 1)
            found.setdefault(int(index), {})[name] = arrays[key]
    return [found[index] for index in sorted(found)]


def save_feeds(feeds, path):
    """Write feeds for another process."""
    np.savez(
        path, **{f"{i}:{name}": a for i, feed in enumerate(feeds) for name, a in feed.items()}
    )


def main():
    """Quantize; say what failed as one line of JSON."""
    parser = new_parser(__doc__)
    parser.add_argument("tool", choices=SETTINGS)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("feeds", type=pathlib.Path)
    parser.add_argument("result", type=pathlib.Path)
    parser.add_argument("setting")
    arguments = parser.parse_args()
    quantize = {"onnxruntime": by_onnxruntime, "nncf": by_nncf}[arguments.tool]
    feeds = load_feeds(arguments.feeds)
    known = SETTINGS[arguments.tool]
    if arguments.setting not in known:
        parser.error(f"unknown setting; known: {'; '.join(known)}")
    try:
        quantize(arguments.source, feeds, arguments.result, **known[arguments.setting])
    except Exception as error:  # a tool may fail at one setting and work with the next
        print(json.dumps({"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}))
    else:
        print("{}")


if __name__ == "__main__":
    main()
