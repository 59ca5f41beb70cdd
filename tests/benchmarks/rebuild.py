"""What a build costs as a whole process: from nothing, and again after a change.

    python tests/benchmarks/rebuild.py model.onnx ... [-- --precision w8a8 ...]

Each line is a run of ``edgecomp build`` into a new folder, with seconds by the clock and of the
processors: with an empty cache, with another last layer (its Gemm has a tenth fewer columns), with
other weights (as after more training, so that all kernels are known), and the same again.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
from onnx import numpy_helper

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.flags import new_parser  # noqa: E402


def other_last_layer(model):
    """The same model with fewer outputs; None where it does not end in a Gemm."""
    gemm = next((n for n in reversed(model.graph.node) if n.op_type == "Gemm"), None)
    if gemm is None:
        return None
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    axis = 0 if any(a.name == "transB" and a.i for a in gemm.attribute) else 1
    for name, along in zip(gemm.input[1:], (axis, 0), strict=False):
        array = numpy_helper.to_array(weights[name])
        count = array.shape[along] * 9 // 10
        kept = np.ascontiguousarray(array.take(range(count), axis=along))
        weights[name].CopyFrom(numpy_helper.from_array(kept, name))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = count
    del model.graph.value_info[:]
    return model


def other_weights(model):
    """The same model with all its large weights a little smaller."""
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.size > 1:
            smaller = numpy_helper.from_array(array * np.float32(0.999), tensor.name)
            tensor.CopyFrom(smaller)
    return model


def run_build(model, folder, flags):
    """Seconds by the clock, and of the processors, of one process and those it started."""
    shutil.rmtree(folder / "bundle", ignore_errors=True)
    command = [sys.executable, "-m", "edgecomp", "build", str(model), *flags]
    command += ["-o", str(folder / "bundle"), "--cache-dir", str(folder / "cache")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    return time.perf_counter() - begin, usage.ru_utime, usage.ru_stime


def main():
    """Print a table."""
    parser = new_parser(__doc__)
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("flags", nargs=argparse.REMAINDER, help="of edgecomp build, after --")
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    models, flags = parser.parse_args(given[:cut]).models, given[cut + 1 :]
    print(
        "| model | build | clock, s | user, s | system, s |\n| --- | --- | ---: | ---: | ---: |"
    )
    for path in models:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            sources = {"empty cache": path}
            for what, change in (
                ("another last layer", other_last_layer),
                ("other weights", other_weights),
            ):
                changed = change(onnx.load(path))
                if changed is not None:
                    sources[what] = folder / f"{what.replace(' ', '_')}.onnx"
                    onnx.save(changed, sources[what])
            sources["the same again"] = list(sources.values())[-1]
            for what, model in sources.items():
                times = " | ".join(f"{each:.2f}" for each in run_build(model, folder, flags))
                print(f"| {path.stem} | {what} | {times} |", flush=True)


if __name__ == "__main__":
    main()
