"""Indices outside what they point into: the nearest end where they come at run time.

The results equal those of the bounded indices, so nothing else was read, and what lies around
the outputs is unchanged (tests/helpers/kernels.py looks at it).
"""

import numpy as np
import onnx
import pytest
from helpers.kernels import fill, read, run_calls
from helpers.nodes import compiled, node_model
from helpers.qdq import QdqGraph
from helpers.targets import ARMV7, AVX2
from onnx import helper

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.index_bounds import INDEX_INPUTS, index_bounds
from edgecomp.lower.bound_indices import bound_indices
from edgecomp.lower.fallback import emit_fallback
from edgecomp.plan.operations import Fallback, Operation
from edgecomp.plan.values import Value

INT64, INT32 = np.iinfo(np.int64), np.iinfo(np.int32)


def f32(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


WRONG = np.array([[0, 6, -7], [INT64.max, 2, INT64.min], [5, 2**32, -(2**32) - 1]])
CASES = {
    "Gather": ({"x": f32(6, 3), "i": WRONG}, {}),
    "Gather-axis": ({"x": f32(3, 6), "i": np.clip(WRONG, INT32.min, INT32.max)}, {"axis": -1}),
    "GatherElements": ({"x": f32(6, 3), "i": WRONG}, {}),
    "GatherElements-axis": ({"x": f32(3, 6), "i": WRONG}, {"axis": 1}),
    "GatherND": ({"x": f32(4, 6, 2), "i": np.array([[9, -1], [-5, 6], [3, -99]])}, {}),
    "GatherND-batch": (
        {"x": f32(2, 4, 6), "i": np.array([[[9]], [[-5]]])},
        {"batch_dims": 1},
    ),
    "RoiAlign": (
        {"x": f32(2, 1, 5, 5), "r": f32(4, 4), "i": np.array([-1, 2, INT64.max, INT64.min])},
        {"output_height": 2, "output_width": 2, "sampling_ratio": 2},
    ),
    "ScatterElements": ({"x": f32(6, 3), "i": WRONG[::2] * 1, "u": f32(2, 3)}, {}),
    "ScatterElements-add": (
        {"x": f32(3, 6), "i": WRONG, "u": f32(3, 3)},
        {"axis": 1, "reduction": "add"},
    ),
    "ScatterND": ({"x": f32(6, 2), "i": WRONG[:, 1:2] + 3, "u": f32(3, 2)}, {}),
    "ScatterND-add": (
        {"x": f32(4, 6), "i": np.array([[9, -1], [-5, 6], [3, -99]]), "u": f32(3)},
        {"reduction": "add"},
    ),
}
#: The others have int64 only.
BOTH_TYPES = ("Gather", "GatherElements", "ScatterElements")


def brought_inside(operator, inputs, attributes):
    """The inputs with the nearest allowed indices."""
    low, high = index_bounds(operator, inputs["x"].shape, inputs["i"].shape, attributes)
    return {**inputs, "i": np.clip(inputs["i"], low, high)}


def result_of(model, inputs):
    return onnx.reference.ReferenceEvaluator(model).run(None, inputs)[0]


@pytest.mark.parametrize("name", sorted(CASES))
def test_model(name):
    inputs, attributes = CASES[name]
    operator = name.split("-")[0]
    model = node_model(operator, inputs, opset=21, **attributes)
    (found,), _ = compiled(model, inputs)
    want = result_of(model, brought_inside(operator, inputs, attributes))
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("target", "index_dtype"), [(AVX2, "int32"), (AVX2, "int64"), (ARMV7, "int64")]
)
@pytest.mark.parametrize("name", sorted(CASES))
def test_fallback_kernel(name, target, index_dtype):
    inputs, attributes = CASES[name]
    operator = name.split("-")[0]
    if index_dtype == "int32" and operator not in BOTH_TYPES:
        return  # not in ONNX
    info = np.iinfo(index_dtype)
    indices = np.clip(inputs["i"], info.min, info.max).astype(index_dtype)
    inputs = {**inputs, "i": indices}
    model = node_model(operator, inputs, opset=21, **attributes)
    want = result_of(model, brought_inside(operator, inputs, attributes))
    names = {old: f"i{index}" for index, old in enumerate(inputs)} | {"y0": "o0"}
    kind = helper.np_dtype_to_tensor_dtype(want.dtype)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y0", kind, want.shape))
    for value in (*model.graph.input, *model.graph.output):
        value.name = names[value.name]
    node = model.graph.node[0]
    node.input[:] = [names[each] for each in node.input]
    node.output[:] = ["o0"]
    values = [Value(each, a.shape, a.dtype.name) for each, a in inputs.items()]
    output = Value("y", want.shape, want.dtype.name)
    operation = Operation(Fallback(model.SerializeToString(), operator), values, [output])
    buffers = {v: fill(v, a) for v, a in zip(values, inputs.values(), strict=True)}
    got = run_calls(emit_fallback(operation, target), target, buffers)
    np.testing.assert_allclose(read(output, got[output]), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(CASES))
def test_constant_index_is_refused(name):
    inputs, attributes = CASES[name]
    model = node_model(name.split("-")[0], inputs, fixed=["i"], opset=21, **attributes)
    with pytest.raises(EdgecompError, match="it takes index") as caught:
        compiled(model, inputs)
    assert caught.value.code is Code.OPERATOR_UNSUPPORTED
    assert caught.value.node == "node"


@pytest.mark.parametrize("index", [6, -7, 2**40])
@pytest.mark.parametrize("table", [True, False], ids=["table", "activation"])
def test_constant_index_into_stored_numbers_is_refused(table, index):
    g = QdqGraph()
    rows = np.arange(18).reshape(6, 3)
    source = g.weight(rows, 0.1) if table else g.stored("x", (6, 3), 0.1, 7)
    parts = g("Gather", source, np.array([1, index]), name="node")
    if table:
        parts = g("Add", parts, g.input("x", (2, 3)))
    model = g.proto(g.dequantize(g.quantize(parts, 0.1, 7), 0.1, 7))
    with pytest.raises(EdgecompError, match=f"it takes index {index} of 6") as caught:
        compiled(model, {})
    assert caught.value.code is Code.OPERATOR_UNSUPPORTED
    assert caught.value.node == "node"


def test_every_operator_with_indices_is_listed():
    """Relax's list has no other operator that takes positions at run time."""
    from edgecomp.lower.relax_refusals import COMPARED

    assert INDEX_INPUTS.keys() <= COMPARED
    named = {
        schema.name
        for schema in onnx.defs.get_all_schemas()
        if any("indices" in each.name for each in schema.inputs)
    }
    assert named & COMPARED == INDEX_INPUTS.keys()


def test_other_operators_stay():
    model = node_model("Relu", {"x": f32(3)})
    assert bound_indices(model) is model


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_of_no_numbers(mode, padding):
    """Points that are no place in the image: only what the image has is read."""
    x = np.full((1, 1, 4, 5), 2, np.float32)
    points = np.float32([[np.nan, 0], [np.inf, 0], [0, -np.inf], [3e38, -3e38], [1e9, 1e-9]])
    grid = points.reshape(1, 1, -1, 2)
    model = node_model(
        "GridSample", {"x": x, "g": grid}, mode=mode, padding_mode=padding, opset=21
    )
    (found,), _ = compiled(model, {"x": x, "g": grid})
    assert found.shape == (1, 1, 1, len(points))
