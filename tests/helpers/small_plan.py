"""A plan made by hand: a scaled matrix product in float32 and a line in int32.

scaled = pixels * gain        (kernel "scale", one work item per row)
scores = scaled @ weight      (kernel "product", sums in a workspace)
line   = counts * 3 + 1       (kernel "line", int32)
"""

import dataclasses

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

from edgecomp.lower.compile import compile_kernels
from edgecomp.plan.plan import Plan, PlanCall, PlanPort, PlanTensor, Storage
from edgecomp.plan.values import SLACK_BYTES
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import KernelBuilder, load

ROWS, DEPTH, COLUMNS, COUNTS = 3, 5, 7, 9


def gain():
    return np.linspace(-1, 2, DEPTH, dtype=np.float32)


def weight(columns=COLUMNS):
    return np.random.default_rng(5).normal(size=(DEPTH, columns)).astype(np.float32)


def small_inputs(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "pixels": rng.normal(size=(ROWS, DEPTH)).astype(np.float32),
        "in/counts": rng.integers(-100, 100, COUNTS).astype(np.int32),
    }


def expected(inputs, columns=COLUMNS):
    scaled = inputs["pixels"].astype(np.float64) * gain().astype(np.float64)
    return {
        "scores": (scaled @ weight(columns).astype(np.float64)).astype(np.float32),
        "line": inputs["in/counts"] * np.int32(3) + np.int32(1),
    }


def golden(count=2):
    return [(inputs, expected(inputs)) for inputs in map(small_inputs, range(count))]


def portable_model():
    """The same computation as an ONNX file."""
    helper = onnx.helper
    nodes = [
        helper.make_node("Mul", ["pixels", "gain"], ["scaled"], "mul"),
        helper.make_node("MatMul", ["scaled", "weight"], ["scores"], "matmul"),
        helper.make_node("Mul", ["in/counts", "three"], ["tripled"], "triple"),
        helper.make_node("Add", ["tripled", "one"], ["line"], "add"),
    ]
    constants = {
        "gain": gain(),
        "weight": weight(),
        "three": np.int32(3),
        "one": np.int32(1),
    }
    graph = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, [ROWS, DEPTH]),
            helper.make_tensor_value_info("in/counts", onnx.TensorProto.INT32, [COUNTS]),
        ],
        [
            helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [ROWS, COLUMNS]),
            helper.make_tensor_value_info("line", onnx.TensorProto.INT32, [COUNTS]),
        ],
        [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def scale_kernel():
    b = KernelBuilder()
    x = b.pointer("x", "float32", ROWS * DEPTH)
    g = b.pointer("gain", "float32", DEPTH)
    y = b.pointer("y", "float32", ROWS * DEPTH)
    with b.loop("row", b.lo, b.hi) as row, b.loop("k", 0, DEPTH) as k:
        b.store(y, row * DEPTH + k, load(x, row * DEPTH + k) * load(g, k))
    return b.finish("scale")


def product_kernel():
    b = KernelBuilder()
    x = b.pointer("x", "float32", ROWS * DEPTH)
    w = b.pointer("weight", "float32", DEPTH * COLUMNS)
    y = b.pointer("y", "float32", ROWS * COLUMNS)
    scratch = b.pointer("scratch", "float32", COLUMNS)
    with b.loop("row", b.lo, b.hi) as row:
        with b.loop("n", 0, COLUMNS) as n:
            b.store(scratch, n, tirx.const(0.0, "float32"))
        with b.loop("k", 0, DEPTH) as k, b.loop("n", 0, COLUMNS) as n:
            product = load(x, row * DEPTH + k) * load(w, k * COLUMNS + n)
            b.store(scratch, n, load(scratch, n) + product)
        with b.loop("n", 0, COLUMNS) as n:
            b.store(y, row * COLUMNS + n, load(scratch, n))
    return b.finish("product")


def line_kernel():
    b = KernelBuilder()
    x = b.pointer("x", "int32", COUNTS)
    y = b.pointer("y", "int32", COUNTS)
    with b.loop("i", b.lo, b.hi) as i:
        b.store(y, i, load(x, i) * 3 + 1)
    return b.finish("line")


def _lay_out(rows):
    """rows: (name, dtype, shape, storage); offsets one after the other, 64-byte aligned."""
    tensors, ends = [], {Storage.ARENA: 0, Storage.WEIGHTS: 0}
    for name, dtype, shape, storage in rows:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        tensors.append(PlanTensor(name, dtype, shape, storage, ends[storage], size))
        ends[storage] = (ends[storage] + size + SLACK_BYTES + 63) // 64 * 64
    return tensors, ends


def small_plan(target, name="small"):
    """The plan, compiled for a target."""
    arena, constant = Storage.ARENA, Storage.WEIGHTS
    tensors, ends = _lay_out(
        [
            ("pixels", "float32", (ROWS, DEPTH), arena),
            ("in/counts", "int32", (COUNTS,), arena),
            ("scaled", "float32", (ROWS, DEPTH), arena),
            ("scores", "float32", (ROWS, COLUMNS), arena),
            ("line", "int32", (COUNTS,), arena),
            ("gain", "float32", (DEPTH,), constant),
            ("weight", "float32", (DEPTH, COLUMNS), constant),
        ]
    )
    weights = bytearray(ends[constant])
    for tensor, array in zip(tensors[5:], (gain(), weight()), strict=True):
        weights[tensor.offset_bytes : tensor.offset_bytes + tensor.bytes] = array.tobytes()
    kernels = scale_kernel(), product_kernel(), line_kernel()
    calls = [
        PlanCall(
            kernels[0].symbol,
            (0, 5, 2),
            ROWS,
            "Elementwise(Mul)",
            "elementwise_f32",
            ("mul",),
            "model.py:12",
            ROWS * DEPTH,
        ),
        PlanCall(
            kernels[1].symbol,
            (2, 6, 3),
            ROWS,
            "MatrixMultiply",
            "gemm_f32",
            ("matmul",),
            "model.py:13",
            ROWS * DEPTH * COLUMNS,
            workspace_bytes=COLUMNS * 4,
        ),
        PlanCall(
            kernels[2].symbol,
            (1, 4),
            COUNTS,
            "Fallback(Line)",
            "fallback",
            ("triple", "add"),
            "model.py:20",
        ),
    ]
    return Plan(
        name=name,
        target=target.name,
        tensors=tensors,
        calls=calls,
        inputs=[
            PlanPort("pixels", 0, "float32", (ROWS, DEPTH)),
            PlanPort("in/counts", 1, "int32", (COUNTS,)),
        ],
        outputs=[
            PlanPort("scores", 3, "float32", (ROWS, COLUMNS)),
            PlanPort("line", 4, "int32", (COUNTS,)),
        ],
        arena_bytes=ends[arena],
        arena_bound_bytes=ends[arena],
        weights=bytes(weights),
        objects=compile_kernels(kernels, target, workers=1),
    )


def changed(plan, **fields):
    return dataclasses.replace(plan, **fields)


def write_small(target, folder, **options):
    """The plan as a bundle."""
    from edgecomp.bundle.write import write_bundle

    facts = {
        "passes": ["FoldConstantsPass"],
        "quantization": {"activations": "uint8"},
        "accuracy": {"top1": 0.5},
        "refused": ["layer 3: too small"],
    }
    values = {"model_bytes": portable_model(), "golden": golden(), "facts": facts, **options}
    return write_bundle(small_plan(target), target, folder, **values)


def without_compiler(target):
    """The target on a machine where nothing compiles for it."""
    toolchain = dataclasses.replace(
        target.toolchain,
        compilers=("no-such-cc",),
        zig_target="",
        install="install no-such-cc",
    )
    return dataclasses.replace(target, toolchain=toolchain)
