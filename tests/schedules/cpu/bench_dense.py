"""Time dense kernels against onnxruntime and the multiply units' peak, one thread.

    PYTHONPATH=. python tests/schedules/cpu/bench_dense.py resnet50 float32
    PYTHONPATH=. python tests/schedules/cpu/bench_dense.py mobilenetv2 int8 --filter k3x3

Kernels, onnxruntime and the peak loop take turns, each timed in CPU time of the thread; the
tenth percentile of the turns counts. onnxruntime runs each operator alone, with the reordering of its
input and output that it then needs: in a whole model it is faster than here.
"""

import argparse
import ctypes
import dataclasses
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))  # for helpers.*

from helpers import dense_cases
from helpers.dense import make_float, make_integer
from helpers.targets import AVX2, AVX512

from edgecomp.lower.compile import compile_kernels
from edgecomp.schedules.builder import KernelBuilder, load, ramp, splat
from edgecomp.schedules.cpu import convolution
from edgecomp.schedules.cpu.arithmetic import Operands, Start
from edgecomp.schedules.cpu.arithmetic_f32 import arithmetic_f32
from edgecomp.schedules.cpu.arithmetic_s8_x86 import arithmetic_s8_x86
from edgecomp.schedules.schedule import Constant

MODELS = {
    "resnet50": dense_cases.RESNET50,
    "mobilenetv2": dense_cases.MOBILENETV2,
    "minilm": dense_cases.MINILM,
}
TARGETS = {"avx2": AVX2, "avx512": AVX512}
PEAK_STEPS = 4000


def aligned(array):
    """A copy at a multiple of 64 bytes with 64 readable bytes behind it."""
    raw = np.zeros(array.nbytes + 128, np.uint8)
    start = -raw.ctypes.data % 64
    raw[start : start + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return raw[start:]


def link(kernels, target, folder):
    """A loaded library with the kernels."""
    objects = compile_kernels(kernels, target, workers=1)
    for symbol, content in objects.items():
        (folder / f"{symbol}.o").write_bytes(content)
    path = folder / f"{time.monotonic_ns()}.so"
    compiler = next(c for c in target.toolchain.compilers if shutil.which(c))
    paths = [str(folder / f"{symbol}.o") for symbol in objects]
    subprocess.run([compiler, "-shared", "-o", str(path), *paths, "-lm"], check=True)
    return ctypes.CDLL(str(path))


def ours(operation, buffers, target, folder, schedule=convolution):
    """A function that runs the operation's kernels on all work items, and the calls."""
    calls = schedule.emit(operation, target)
    library = link([call.kernel for call in calls], target, folder)
    memory = {}
    prepared = []
    for call in calls:
        pointers = []
        for argument in call.arguments:
            if argument not in memory:
                if isinstance(argument, Constant):
                    content = argument.array
                else:
                    content = buffers.get(argument)
                    if content is None:
                        content = np.zeros(argument.bytes, np.uint8)
                memory[argument] = aligned(content)
            pointers.append(ctypes.c_void_p(memory[argument].ctypes.data))
        function = getattr(library, call.kernel.symbol)
        function.restype = None
        prepared.append(
            (function, [*pointers, ctypes.c_int32(0), ctypes.c_int32(call.work_items)])
        )

    def run():
        for function, arguments in prepared:
            function(*arguments)

    run.memory = memory
    return run, calls


def peak_loop(dtype, target, folder):
    """(function, multiply-adds of one call) of independent multiplies in registers."""
    builder = KernelBuilder()
    lanes = target.lanes(32)
    x = builder.pointer("x", "float32" if dtype == "float32" else "uint8", 64)
    arithmetic = arithmetic_f32(target) if dtype == "float32" else arithmetic_s8_x86(target)
    weights = builder.pointer("w", arithmetic.weight_dtype, 1024)
    out = builder.pointer("out", "float32" if dtype == "float32" else "int32", 1024)
    count = 24 if target.core.vector_registers > 16 else 12
    if dtype == "float32":
        sums = [builder.array("sum", "float32", lanes) for _ in range(count)]
        for i, total in enumerate(sums):
            builder.store(total, ramp(0, lanes), load(out, i * lanes, lanes))
        with builder.loop("i", builder.lo, builder.hi):
            for total in sums:
                product = splat(load(x, 0), lanes) * load(weights, 0, lanes)
                builder.store(total, ramp(0, lanes), load(total, 0, lanes) + product)
        for i, total in enumerate(sums):
            builder.store(out, ramp(i * lanes, lanes), load(total, 0, lanes))
        multiplies = count * lanes
    else:
        lanes = arithmetic.lanes
        zero = builder.pointer("zero", "int32", 1024)
        tile = arithmetic.begin(builder, count, 1, Start(zero))
        with builder.loop("i", builder.lo, builder.hi):
            operands = Operands(x=x, x_rows=[0] * count, weights=weights, weight_index=0)
            arithmetic.accumulate(builder, tile, operands, 1)
        for i in range(count):
            builder.store(out, ramp(i * lanes, lanes), tile.get(i, 0))
        multiplies = count * lanes * arithmetic.group
    kernel = builder.finish("peak")
    function = getattr(link([kernel], target, folder), kernel.symbol)
    memory = [aligned(np.zeros(4096, np.uint8)) for _ in range(4 if dtype != "float32" else 3)]
    arguments = [ctypes.c_void_p(m.ctypes.data) for m in memory]
    arguments += [ctypes.c_int32(0), ctypes.c_int32(PEAK_STEPS)]

    def run():
        function(*arguments)

    run.memory = memory
    # The compiler takes the multiplies of vpmaddwd out of this loop: no peak to compare with.
    return run, multiplies * PEAK_STEPS * (10**9 if arithmetic.weight_dtype == "int16" else 1)


def onnxruntime_operator(case, dtype):
    """A function that runs the same operator in onnxruntime."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    shape, out_shape = (case.n, case.c, case.h, case.w), case.out_shape
    weight_shape = (case.m, case.c // case.g, *case.k)
    attributes = {
        "pads": list(case.p),
        "strides": list(case.s),
        "dilations": list(case.d),
        "group": case.g,
    }
    if dtype == "float32":
        weight = rng.standard_normal(weight_shape) / np.sqrt(np.prod(weight_shape[1:]))
        constants = {"w": weight.astype(np.float32), "b": np.zeros(case.m, np.float32)}
        nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], **attributes)]
        element, inputs = TensorProto.FLOAT, {"x": shape}
        last = "c"
        if case.residual:
            inputs["r"] = out_shape
            nodes.append(helper.make_node("Add", [last, "r"], ["a"]))
            last = "a"
        if case.act is not None and case.act.name == "relu":
            nodes.append(helper.make_node("Relu", [last], ["o"]))
            last = "o"
        elif case.act is not None:
            constants |= {"lo": np.float32(case.act.alpha), "hi": np.float32(case.act.beta)}
            nodes.append(helper.make_node("Clip", [last, "lo", "hi"], ["o"]))
            last = "o"
        nodes.append(helper.make_node("Identity", [last], ["y"]))
        arrays = {n: rng.standard_normal(s).astype(np.float32) for n, s in inputs.items()}
    else:
        constants = {
            "sx": np.float32(0.02),
            "zx": np.uint8(128),
            "w": rng.integers(-127, 128, weight_shape).astype(np.int8),
            "sw": np.full(case.m, 0.01, np.float32),
            "zw": np.zeros(case.m, np.int8),
            "sy": np.float32(0.05),
            "zy": np.uint8(120),
            "b": np.zeros(case.m, np.int32),
        }
        names = ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy", "b"]
        nodes = [helper.make_node("QLinearConv", names, ["y"], **attributes)]
        element, inputs = TensorProto.UINT8, {"x": shape}
        arrays = {"x": rng.integers(0, 256, shape).astype(np.uint8)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, element, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info("y", element, out_shape)],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    onnx.checker.check_model(model)
    binding = session.io_binding()
    for name, array in arrays.items():
        binding.bind_cpu_input(name, array)
    y = np.zeros(out_shape, np.float32 if dtype == "float32" else np.uint8)
    binding.bind_output("y", "cpu", 0, y.dtype.type, y.shape, y.ctypes.data)

    def run():
        session.run_with_iobinding(binding)

    run.memory = (arrays, y)
    return run


def host_caches(target):
    """The target with this processor's cache sizes."""
    folder = pathlib.Path("/sys/devices/system/cpu/cpu0/cache")
    sizes = {
        (path.parent / "level").read_text().strip(): int(path.read_text().strip()[:-1]) << 10
        for path in folder.glob("index*/size")
        if (path.parent / "type").read_text().strip() != "Instruction"
    }
    core = dataclasses.replace(target.core, l1_data_bytes=sizes["1"], l2_bytes=sizes["2"])
    return dataclasses.replace(target, core=core)


def take_turns(functions, seconds):
    """CPU seconds per call of each function: the tenth percentile, as others use the caches."""
    repeats = {}
    for name, function in functions.items():
        function()
        start = time.thread_time()
        function()
        repeats[name] = max(1, int(1e-3 / max(1e-7, time.thread_time() - start)))
    found = {name: [] for name in functions}
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(found[next(iter(found))]) < 5:
        for name, function in functions.items():
            start = time.thread_time()
            for _ in range(repeats[name]):
                function()
            found[name].append((time.thread_time() - start) / repeats[name])
    return {name: sorted(times)[len(times) // 10] for name, times in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("dtype", choices=["float32", "int8"])
    parser.add_argument("--target", choices=TARGETS, default="avx512")
    parser.add_argument("--filter", default="")
    parser.add_argument("--seconds", type=float, default=0.4, help="per operator")
    parser.add_argument("--no-onnxruntime", action="store_true")
    arguments = parser.parse_args()
    target = host_caches(TARGETS[arguments.target])
    rng = np.random.default_rng(0)
    totals = {"ours": 0.0, "ort": 0.0, "ideal": 0.0}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        peak, peak_multiplies = peak_loop(arguments.dtype, target, folder)
        for count, case in MODELS[arguments.model]:
            if arguments.filter not in str(case):
                continue
            if arguments.dtype == "float32":
                operation, buffers, _ = make_float(case, rng)
            else:
                case = dataclasses.replace(
                    case, finish="add" if case.residual else "requantize"
                )
                operation, buffers, _ = make_integer(case, target, rng)
            run, calls = ours(operation, buffers, target, folder)
            functions = {"ours": run, "peak": peak}
            if not arguments.no_onnxruntime:
                functions["ort"] = onnxruntime_operator(case, arguments.dtype)
            times = take_turns(functions, arguments.seconds)
            multiplies = sum(call.multiply_adds for call in calls)
            ideal = multiplies / peak_multiplies * times["peak"]
            totals["ours"] += count * times["ours"]
            totals["ort"] += count * times.get("ort", 0.0)
            totals["ideal"] += count * ideal
            tile = calls[0].kernel.symbol.split("_")[-4]
            print(
                f"{count} x {case!s:44} {tile:>7} {calls[0].work_items:4} items "
                f"{times['ours'] * 1e6:8.1f} us {2e-9 * multiplies / times['ours']:7.1f} GOP/s "
                f"{100 * ideal / times['ours']:5.1f} % of peak, onnxruntime / ours "
                f"{times.get('ort', 0.0) / times['ours']:.2f}",
                flush=True,
            )
    print(
        f"all: ours {totals['ours'] * 1e3:.2f} ms, onnxruntime {totals['ort'] * 1e3:.2f} ms "
        f"(ratio {totals['ort'] / totals['ours']:.3f}), peak {totals['ideal'] * 1e3:.2f} ms"
    )


if __name__ == "__main__":
    main()
