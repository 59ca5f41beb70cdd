# ruff: noqa: C408 (cases are written as keyword arguments)
"""Single ONNX nodes through Relax, against onnxruntime; refusals; what the objects need."""

import shutil
import subprocess

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, ARMV7, AVX2
from onnx import TensorProto, helper, numpy_helper

from edgecomp.errors import Code, EdgecompError
from edgecomp.lower.compile import compile_kernels
from edgecomp.lower.fallback import emit_fallback, fallback_reason, model_refusal
from edgecomp.plan.operations import Fallback, Operation
from edgecomp.plan.values import Value


def model_of(operator, inputs, constants=(), outputs=1, opset=20, dtypes=(), **attributes):
    """A model of one node; `constants` are positions of inputs that are initializers."""
    names = [f"i{k}" if a is not None else "" for k, a in enumerate(inputs)]
    node = helper.make_node(operator, names, [f"o{k}" for k in range(outputs)], **attributes)
    present = [
        (n, a, k in constants)
        for k, (n, a) in enumerate(zip(names, inputs, strict=True))
        if a is not None
    ]
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a, constant in present
            if not constant
        ],
        [helper.make_empty_tensor_value_info(f"o{k}") for k in range(outputs)],
        [numpy_helper.from_array(a, n) for n, a, constant in present if constant],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10
    )


def reference(model, inputs):
    """onnxruntime's results; fills the model's output types from them."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    wanted = {i.name for i in model.graph.input}
    feeds = {f"i{k}": a for k, a in enumerate(inputs) if f"i{k}" in wanted}
    results = session.run(None, feeds)
    for info, array in zip(model.graph.output, results, strict=True):
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        info.CopyFrom(helper.make_tensor_value_info(info.name, kind, array.shape))
    return results


def operation_of(model, inputs, results):
    constants = {i.name for i in model.graph.initializer}
    values = [
        Value(f"v{k}", a.shape, a.dtype.name, constant=a if f"i{k}" in constants else None)
        for k, a in enumerate(inputs)
        if a is not None
    ]
    outputs = [Value(f"w{k}", a.shape, a.dtype.name) for k, a in enumerate(results)]
    kind = Fallback(model.SerializeToString(deterministic=True), model.graph.node[0].op_type)
    return Operation(kind, values, outputs)


def check(model, inputs, target):
    results = reference(model, inputs)
    assert model_refusal(model) == ""
    operation = operation_of(model, inputs, results)
    calls = emit_fallback(operation, target)
    assert all(call.work_items == 1 for call in calls)
    present = [a for a in inputs if a is not None]
    buffers = {v: fill(v, a) for v, a in zip(operation.inputs, present, strict=True)}
    got = run_calls(calls, target, buffers)
    for value, want in zip(operation.outputs, results, strict=True):
        result = read(value, got[value])
        if want.dtype.kind == "f":
            np.testing.assert_allclose(
                result, want, rtol=1e-4, atol=2e-5 * max(1, np.abs(want).max())
            )
        else:
            np.testing.assert_array_equal(result, want)


def f32(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def i64(*values):
    return np.array(values, np.int64)


IMAGE = f32(1, 4, 9, 11)
CASES = {
    "ArgMax": dict(operator="ArgMax", inputs=[f32(3, 40)], axis=1),
    "ArgMin": dict(operator="ArgMin", inputs=[IMAGE], axis=2, keepdims=0),
    "AveragePool-1d": dict(operator="AveragePool", inputs=[f32(1, 3, 20)], kernel_shape=[3]),
    "AveragePool-3d": dict(
        operator="AveragePool",
        inputs=[f32(1, 2, 5, 6, 7)],
        kernel_shape=[2, 2, 2],
        strides=[2, 2, 2],
    ),
    "BatchNormalization": dict(
        operator="BatchNormalization",
        inputs=[IMAGE, f32(4), f32(4), f32(4), np.abs(f32(4))],
        constants=(1, 2, 3, 4),
    ),
    "Conv-1d": dict(
        operator="Conv",
        inputs=[f32(1, 6, 30), f32(8, 3, 5), f32(8)],
        constants=(1, 2),
        group=2,
        pads=[2, 1],
        dilations=[2],
    ),
    "Conv-3d": dict(
        operator="Conv",
        inputs=[f32(1, 2, 6, 7, 8), f32(3, 2, 3, 3, 3)],
        constants=(1,),
        strides=[1, 2, 1],
        pads=[1, 1, 1, 1, 1, 1],
    ),
    "ConvTranspose": dict(
        operator="ConvTranspose",
        inputs=[IMAGE, f32(4, 3, 3, 3), f32(3)],
        constants=(1, 2),
        strides=[2, 2],
        pads=[1, 1, 1, 1],
        output_padding=[1, 1],
    ),
    "ConvTranspose-group": dict(
        operator="ConvTranspose",
        inputs=[IMAGE, f32(4, 2, 2, 2)],
        constants=(1,),
        group=2,
        strides=[2, 2],
    ),
    "CumSum": dict(operator="CumSum", inputs=[f32(3, 20), i64(1)[0]], constants=(1,)),
    "CumSum-reverse": dict(
        operator="CumSum",
        inputs=[f32(3, 20), i64(0)[0]],
        constants=(1,),
        reverse=1,
        exclusive=1,
    ),
    "DepthToSpace": dict(
        operator="DepthToSpace", inputs=[f32(1, 12, 4, 5)], blocksize=2, mode="CRD"
    ),
    "Einsum": dict(
        operator="Einsum", inputs=[f32(2, 5, 7), f32(2, 9, 7)], equation="bik,bjk->bij"
    ),
    "GatherElements": dict(
        operator="GatherElements",
        inputs=[f32(4, 6), np.array([[0, 5], [-1, 2], [3, 3], [1, 0]], np.int64)],
        axis=1,
    ),
    "GatherND": dict(
        operator="GatherND",
        inputs=[f32(4, 5, 6), np.array([[0, 1], [3, 4]], np.int64)],
    ),
    "GlobalMaxPool": dict(operator="GlobalMaxPool", inputs=[f32(2, 3, 6, 5, 4)]),
    "GridSample": dict(
        operator="GridSample",
        inputs=[IMAGE, np.tanh(f32(1, 5, 6, 2))],
        mode="linear",
        padding_mode="border",
        align_corners=1,
    ),
    "GroupNormalization": dict(
        operator="GroupNormalization",
        inputs=[IMAGE, f32(4), f32(4)],
        constants=(1, 2),
        num_groups=2,
        opset=21,
    ),
    "Hardmax": dict(operator="Hardmax", inputs=[f32(4, 9)], axis=1),
    "InstanceNormalization": dict(
        operator="InstanceNormalization",
        inputs=[f32(1, 4, 40, 40), f32(4), f32(4)],
        constants=(1, 2),
    ),
    "LRN": dict(operator="LRN", inputs=[f32(1, 8, 20, 20)], size=5),
    "LayerNormalization-run-time": dict(
        operator="LayerNormalization",
        inputs=[f32(3, 33), f32(33), f32(33)],
    ),
    "LogSoftmax-12": dict(operator="LogSoftmax", inputs=[f32(2, 3, 4)], axis=1, opset=11),
    "LpPool": dict(operator="LpPool", inputs=[IMAGE], kernel_shape=[3, 3], p=2),
    "MatMulInteger": dict(
        operator="MatMulInteger",
        inputs=[
            np.arange(24, dtype=np.uint8).reshape(4, 6),
            np.arange(18, dtype=np.uint8).reshape(6, 3),
            np.array(3, np.uint8),
        ],
        constants=(2,),
    ),
    "MaxPool-1d": dict(
        operator="MaxPool", inputs=[f32(1, 3, 20)], kernel_shape=[4], strides=[2], ceil_mode=1
    ),
    "MaxPool-3d": dict(
        operator="MaxPool", inputs=[f32(1, 2, 5, 6, 7)], kernel_shape=[2, 3, 2]
    ),
    "MeanVarianceNormalization": dict(
        operator="MeanVarianceNormalization",
        inputs=[IMAGE],
        opset=13,
    ),
    "Pad-reflect": dict(
        operator="Pad",
        inputs=[IMAGE, i64(0, 0, 2, 3, 0, 0, 1, 2)],
        constants=(1,),
        mode="reflect",
    ),
    "Pad-edge": dict(
        operator="Pad",
        inputs=[IMAGE, i64(0, 0, 2, 3, 0, 0, 1, 2)],
        constants=(1,),
        mode="edge",
    ),
    "ReduceProd-int": dict(
        operator="ReduceProd",
        inputs=[np.arange(1, 13, dtype=np.int32).reshape(3, 4), i64(1)],
        constants=(1,),
    ),
    "ReduceMax-int64": dict(
        operator="ReduceMax",
        inputs=[np.arange(24).reshape(4, 6), i64(0)],
        constants=(1,),
    ),
    "Resize-cubic": dict(
        operator="Resize",
        inputs=[IMAGE, None, np.array([1, 1, 2, 2], np.float32)],
        constants=(2,),
        mode="cubic",
    ),
    "RoiAlign": dict(
        operator="RoiAlign",
        inputs=[IMAGE, np.array([[0, 0, 7, 8], [1, 2, 5, 6]], np.float32), i64(0, 0)],
        output_height=3,
        output_width=3,
        sampling_ratio=2,
    ),
    "ScatterElements": dict(
        operator="ScatterElements",
        inputs=[f32(4, 5), np.array([[1, 2], [0, 4]], np.int64), f32(2, 2)],
        axis=1,
    ),
    "ScatterND": dict(
        operator="ScatterND",
        inputs=[f32(6, 5), np.array([[1], [4]], np.int64), f32(2, 5)],
    ),
    "SpaceToDepth": dict(operator="SpaceToDepth", inputs=[f32(1, 3, 8, 6)], blocksize=2),
    "Tile": dict(operator="Tile", inputs=[f32(2, 3), i64(2, 4)], constants=(1,)),
    "Trilu": dict(operator="Trilu", inputs=[f32(5, 7), i64(1)[0]], constants=(1,), upper=0),
}
ON_ARM = [
    "InstanceNormalization",
    "ConvTranspose",
    "CumSum",
    "ScatterND",
    "Einsum",
    "Resize-cubic",
    "GridSample",
    "Hardmax",
]


@pytest.mark.parametrize("name", sorted(CASES))
def test_operator(name):
    case = dict(CASES[name])
    check(model_of(**case), case["inputs"], AVX2)


@pytest.mark.parametrize("target", [A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("name", ON_ARM)
def test_operator_on_arm(name, target):
    case = dict(CASES[name])
    check(model_of(**case), case["inputs"], target)


def test_large_temporaries_use_the_workspace():
    case = dict(CASES["InstanceNormalization"])
    model = model_of(**case)
    results = reference(model, case["inputs"])
    calls = emit_fallback(operation_of(model, case["inputs"], results), AVX2)
    assert max(call.workspace_bytes for call in calls) >= 4 * 40 * 40 * 4


@pytest.mark.parametrize("count", [63, 64, 65])
def test_temporaries_about_the_size_that_leaves_the_stack(count):
    """64 indices of two bounds are 1,024 bytes."""
    indices = np.random.default_rng(0).integers(0, 9, (1, count))
    case = dict(operator="GatherElements", inputs=[f32(1, 9), indices], axis=1)
    check(model_of(**case), case["inputs"], AVX2)


LIBM = {
    "expf",
    "logf",
    "powf",
    "tanhf",
    "erff",
    "sqrtf",
    "floorf",
    "ceilf",
    "roundf",
    "sinf",
    "cosf",
    "fmodf",
    "nearbyintf",
    "truncf",
    "fabsf",
}


@pytest.mark.skipif(
    not shutil.which("nm"), reason="nm is not installed (apt install binutils)"
)
@pytest.mark.parametrize(
    "name",
    [
        "InstanceNormalization",
        "CumSum",
        "ScatterND",
        "Hardmax",
        "LRN",
        "ConvTranspose",
        "GridSample",
    ],
)
def test_objects_need_nothing_but_libm(name, tmp_path):
    case = dict(CASES[name])
    model = model_of(**case)
    calls = emit_fallback(
        operation_of(model, case["inputs"], reference(model, case["inputs"])), AVX2
    )
    objects = compile_kernels([c.kernel for c in calls], AVX2, workers=1)
    for content in objects.values():
        path = tmp_path / "kernel.o"
        path.write_bytes(content)
        text = subprocess.run(
            ["nm", "-u", str(path)], check=True, capture_output=True, text=True
        )
        undefined = {line.split()[-1] for line in text.stdout.splitlines()}
        assert undefined <= LIBM | {"memset", "memcpy", "memmove"}


def test_output_that_is_the_input():
    check(model_of("Identity", [f32(2, 3)]), [f32(2, 3)], AVX2)


def test_output_that_is_a_constant():
    check(
        model_of("Tile", [f32(2, 3), i64(2, 1)], constants=(0, 1)),
        [f32(2, 3), i64(2, 1)],
        AVX2,
    )


REFUSED = {
    "batch normalisation in training mode": model_of(
        "BatchNormalization",
        [IMAGE, f32(4), f32(4), f32(4), np.abs(f32(4))],
        outputs=3,
        training_mode=1,
    ),
    "IsInf of one sign": model_of("IsInf", [f32(4)], detect_negative=0),
    "RoiAlign by maximum": model_of(
        "RoiAlign",
        [IMAGE, f32(2, 4), i64(0, 0)],
        mode="max",
    ),
    "SpaceToDepth in CRD mode": model_of(
        "SpaceToDepth", [f32(1, 4, 4, 4)], blocksize=2, mode="CRD"
    ),
    "antialiased resize": model_of(
        "Resize",
        [IMAGE, None, np.array([1, 1, 0.5, 0.5], np.float32)],
        (2,),
        antialias=1,
        mode="linear",
    ),
    "resize whose scales do not give whole sizes": model_of(
        "Resize",
        [IMAGE, None, np.array([1, 1, 0.6, 0.6], np.float32)],
        (2,),
        mode="linear",
    ),
    "no implementation of this operator": model_of(
        "LSTM",
        [f32(2, 1, 3), f32(1, 16, 3), f32(1, 16, 4)],
        (1, 2),
        hidden_size=4,
    ),
    "dropout in training mode": model_of(
        "Dropout",
        [f32(3), np.float32(0.5), np.array(True)],
        (1, 2),
    ),
    "optional outputs": model_of("MaxPool", [IMAGE], outputs=2, kernel_shape=[2, 2]),
}


@pytest.mark.parametrize("reason", sorted(REFUSED))
def test_refusal(reason):
    model = REFUSED[reason]
    if reason.startswith("resize"):
        reference(model, [IMAGE])
    assert model_refusal(model) == reason


def test_refusal_of_another_domain():
    model = model_of("Gelu", [f32(4)])
    model.graph.node[0].domain = "com.example"
    assert "com.example" in model_refusal(model)


def test_shape_that_depends_on_contents():
    model = model_of("Reshape", [f32(2, 6), i64(3, 4)])
    helper_output = helper.make_tensor_value_info("o0", TensorProto.FLOAT, (3, 4))
    model.graph.output[0].CopyFrom(helper_output)
    assert "Reshape requires" in model_refusal(model)


def test_reason_of_a_node_in_a_graph():
    model = ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["" : 20]> g (float[3,4] x) => (float[3,4] y) '
        "{ y = Hardmax (x) }"
    )
    assert fallback_reason(model.graph[0]) == ""


def test_emit_of_what_cannot_be_imported():
    model = model_of(
        "LSTM", [f32(2, 1, 3), f32(1, 16, 3), f32(1, 16, 4)], (1, 2), hidden_size=4
    )
    operation = Operation(
        Fallback(model.SerializeToString(), "LSTM"), [], [], ("the_node",), "model.py:3"
    )
    with pytest.raises(EdgecompError) as caught:
        emit_fallback(operation, AVX2)
    assert caught.value.code is Code.OPERATOR_UNSUPPORTED
    assert (caught.value.node, caught.value.source) == ("the_node", "model.py:3")


def test_every_operator_of_the_list_has_a_schema():
    from edgecomp.lower.relax_refusals import COMPARED

    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert known >= COMPARED


def test_refusal_of_element_types():
    model = model_of("Hardmax", [f32(2, 3)])
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("o0", TensorProto.BFLOAT16, (2, 3))
    )
    assert model_refusal(model) == "element type bfloat16"
    reason = model_refusal(_typed("BitShift", np.ones(3, np.int32), direction="LEFT"))
    assert reason == "BitShift of signed integers"
    reason = model_refusal(_typed("Mod", f32(3), fmod=0))
    assert reason == "Mod of floats with fmod 0"


def _typed(operator, array, **attributes):
    model = model_of(operator, [array, array], **attributes)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("o0", kind, array.shape))
    return model
