"""Time of products of signs with signs over that of the same ones in float32.

    python tests/benchmarks/sign_speed.py build FOLDER
    python tests/benchmarks/sign_speed.py measure FOLDER

``build`` makes bundles for this machine of a 3x3 convolution of 256 channels at 14 x 14 and of products
of width 1024 with 1 and 64 rows, in signs and with one weight that is none, so that all is float32;
``measure`` runs them in turns, one thread. On a machine that does something else too only the ratios
say anything, and they little.
"""

import argparse
import pathlib
import statistics

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecomp import api
from edgecomp.options import BenchmarkOptions, BuildOptions

_CASES = {"conv": (1, 256, 14, 14), "rows1": (1, 1024), "rows64": (64, 1024)}
_LAYERS = 4
_ROUNDS = 5


def network(shape, *, is_float):
    """An ONNX model of some layers."""
    random = np.random.default_rng(0)
    nodes, constants, value = [], [], "x"
    channels = shape[1]
    window = (3, 3) if len(shape) == 4 else ()
    for number in range(_LAYERS):
        weight = np.where(random.random((channels, channels, *window)) < 0.5, -1, 1) / 16
        if is_float:
            weight[0] *= random.uniform(0.5, 1, weight[0].shape)
        constants.append(numpy_helper.from_array(weight.astype(np.float32), f"w{number}"))
        nodes.append(helper.make_node("Sign", [value], [f"s{number}"]))
        operator, more = ("Conv", {"pads": [1, 1, 1, 1]}) if window else ("MatMul", {})
        node = helper.make_node(operator, [f"s{number}", f"w{number}"], [f"y{number}"], **more)
        nodes.append(node)
        value = f"y{number}"
    graph = helper.make_graph(
        nodes, "signs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, shape)], constants,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def build(folder):
    """Two bundles per case."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, shape in _CASES.items():
        for form in ("signs", "float"):
            path = folder / f"{name}_{form}.onnx"
            onnx.save(network(shape, is_float=form == "float"), path)
            api.build(str(path), BuildOptions(output=folder / f"{name}_{form}", force=True))


def measure(folder):
    """Medians in turns."""
    options = BenchmarkOptions(num_runs=20, warmup_runs=3, max_secs=1.0)
    print(
        "| | float32, ms | signs, ms | times faster | weights, times smaller |\n|---|---:|---:|---:|---:|"
    )
    for name in _CASES:
        bundles = [api.open(folder / f"{name}_{form}") for form in ("float", "signs")]
        times = [[], []]
        for _ in range(_ROUNDS):
            for bundle, found in zip(bundles, times, strict=True):
                found.append(api.benchmark(bundle, options).measurement.wall.p50_ns / 1e6)
        plain, signs = (statistics.median(found) for found in times)
        sizes = [bundle.report["sizes"]["weights"] for bundle in bundles]
        print(
            f"| {name} | {plain:.3f} | {signs:.3f} | {plain / signs:.1f} | {sizes[0] / sizes[1]:.1f} |"
        )


def main():
    """Run one of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("build", "measure"))
    parser.add_argument("folder", type=pathlib.Path)
    given = parser.parse_args()
    (build if given.step == "build" else measure)(given.folder)


if __name__ == "__main__":
    main()
