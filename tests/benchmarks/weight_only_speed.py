"""Time of matrix products with weights of few bits over that of float32 ones.

    python tests/benchmarks/weight_only_speed.py build FOLDER [--width 1024] [--rows 1] [--forms fp32,fp8] \\
        [--target x86-64-v3]
    python tests/benchmarks/weight_only_speed.py measure FOLDER [--forms fp32,fp8]

``build`` makes bundles of the products of a transformer's layers (query, key and value, output, up,
down; with a Relu between) for this machine or a target that it runs, in float32, with weights as
floats of 16 and 8 bits, as powers of two, with integers of 8, 4, 3 and 2 bits in groups of 64, with
signs, and with 8-bit activations; a form may name a group size (``w4a8:64``). ``measure`` runs them in
turns, one thread, and prints bytes and medians. On a machine that does something else too only the
ratios say anything, and they little.
"""

import argparse
import pathlib
import statistics

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecomp import api
from edgecomp.options import BenchmarkOptions, BuildOptions

_FORMS = (
    "fp32", "fp16", "bf16", "fp8", "fp8-e5m2", "log2", "w8a16", "w4a16", "w3a16", "w2a16", "binary",
    "w8a8", "w4a8", "w8a8-dynamic", "w4a8-dynamic",
)  # fmt: skip
_ROUNDS = 3


def products(width, layers, rows):
    """An ONNX model."""
    random = np.random.default_rng(0)
    nodes, constants, value = [], [], "x"
    shapes = [(width, 3 * width), (3 * width, width), (width, 4 * width), (4 * width, width)]
    for number, (depth, columns) in enumerate(shapes * layers):
        weight = random.standard_normal((depth, columns), np.float32) / np.sqrt(depth)
        constants.append(numpy_helper.from_array(weight.astype(np.float32), f"w{number}"))
        nodes.append(helper.make_node("MatMul", [value, f"w{number}"], [f"p{number}"]))
        nodes.append(helper.make_node("Relu", [f"p{number}"], [f"y{number}"]))
        value = f"y{number}"
    graph = helper.make_graph(
        nodes, "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (rows, width))],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, (rows, width))], constants,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def build(folder, width, layers, rows, forms, target):
    """A bundle per form."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "products.onnx"
    onnx.save(products(width, layers, rows), path)
    for form in forms:
        precision, _, group = form.partition(":")
        options = BuildOptions(
            precision=precision, method="rtn" if precision == "w4a8" else None,
            group_size=int(group) if group else None, output=folder / form, force=True,
            target=target,
        )  # fmt: skip
        random, samples = np.random.default_rng(1), None
        if precision in ("w8a8", "w4a8"):
            samples = [{"x": random.standard_normal((rows, width), np.float32)}] * 4
        api.build(str(path), options, calibration_dataset=samples)
        print(form, flush=True)


def measure(folder, forms):
    """Medians in turns."""
    bundles = {form: api.open(folder / form) for form in forms}
    options = BenchmarkOptions(num_runs=40, warmup_runs=5, max_secs=2.0)
    times = {form: [] for form in forms}
    for _ in range(_ROUNDS):
        for form, bundle in bundles.items():
            times[form].append(api.benchmark(bundle, options).measurement.wall.p50_ns / 1e6)
    print("| form | weights, bytes | smaller | ms | faster |\n|---|---:|---:|---:|---:|")
    sizes = {form: bundle.report["sizes"]["weights"] for form, bundle in bundles.items()}
    base = statistics.median(times["fp32"])
    for form in forms:
        median = statistics.median(times[form])
        print(f"| {form} | {sizes[form]} | {sizes['fp32'] / sizes[form]:.2f} | {median:.3f} "
              f"| {base / median:.2f} |")  # fmt: skip


def main():
    """Build or measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("verb", choices=("build", "measure"))
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--target", default="host")
    parser.add_argument("--forms", default=",".join(_FORMS))
    arguments = parser.parse_args()
    forms = arguments.forms.split(",")
    if arguments.verb == "build":
        build(
            arguments.folder, arguments.width, arguments.layers, arguments.rows, forms,
            arguments.target,
        )  # fmt: skip
    else:
        measure(arguments.folder, forms)


if __name__ == "__main__":
    main()
