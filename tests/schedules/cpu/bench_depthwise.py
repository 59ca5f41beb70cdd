"""Time depthwise kernels against onnxruntime, one thread.

    PYTHONPATH=. python tests/schedules/cpu/bench_depthwise.py float32
    PYTHONPATH=. python tests/schedules/cpu/bench_depthwise.py int8 --target avx2

The layers are those of MobileNetV2 and EfficientNet-Lite0. Timing as in bench_dense.py.
"""

import argparse
import dataclasses
import pathlib
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))  # for helpers.*
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from bench_dense import TARGETS, host_caches, onnxruntime_operator, ours, take_turns
from helpers.dense import RELU, Conv, make_float, make_integer

from edgecomp.schedules.cpu import depthwise_f32, depthwise_int8

#: (channels, input size, kernel, stride)
LAYERS = (
    (32, 112, 3, 1),
    (96, 112, 3, 2),
    (144, 56, 3, 1),
    (144, 56, 3, 2),
    (144, 56, 5, 2),
    (192, 28, 3, 1),
    (192, 28, 3, 2),
    (240, 28, 5, 1),
    (240, 28, 3, 2),
    (384, 14, 3, 1),
    (480, 14, 3, 1),
    (480, 14, 5, 1),
    (576, 14, 3, 1),
    (576, 14, 3, 2),
    (672, 14, 5, 1),
    (672, 14, 5, 2),
    (960, 7, 3, 1),
    (1152, 7, 5, 1),
    (1152, 7, 3, 1),
)


def case_of(channels, size, kernel, stride):
    """A layer as the helpers' convolution."""
    pad = kernel // 2
    return Conv(
        c=channels,
        m=channels,
        g=channels,
        h=size,
        w=size,
        k=(kernel, kernel),
        s=(stride, stride),
        p=(pad, pad, pad, pad),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dtype", choices=["float32", "int8"])
    parser.add_argument("--target", choices=TARGETS, default="avx512")
    parser.add_argument("--seconds", type=float, default=0.4, help="per layer")
    arguments = parser.parse_args()
    target = host_caches(TARGETS[arguments.target])
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        for layer in LAYERS:
            case = case_of(*layer)
            if arguments.dtype == "float32":
                schedule, case = depthwise_f32, dataclasses.replace(case, act=RELU)
                operation, buffers, _ = make_float(case, rng)
            else:
                schedule, case = depthwise_int8, dataclasses.replace(case, finish="requantize")
                operation, buffers, _ = make_integer(case, target, rng)
            run, calls = ours(operation, buffers, target, pathlib.Path(name), schedule)
            functions = {"ours": run, "ort": onnxruntime_operator(case, arguments.dtype)}
            times = take_turns(functions, arguments.seconds)
            moved = operation.inputs[0].elements + operation.output.elements
            moved *= np.dtype(operation.output.dtype).itemsize
            print(
                f"{case!s:44} {times['ours'] * 1e6:7.1f} us "
                f"{2e-9 * calls[0].multiply_adds / times['ours']:6.1f} GOP/s "
                f"{1e-9 * moved / times['ours']:5.1f} GB/s "
                f"onnxruntime / ours {times['ort'] / times['ours']:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
