"""Chains of elementwise steps, run as kernels and by onnxruntime."""

import numpy as np
import onnx
import onnxruntime

from edgecomp.plan.elementwise import Elementwise
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Halo, Order, Value
from edgecomp.schedules.cpu import elementwise
from helpers.kernels import fill, read, run_calls


def onnx_result(operator, arrays, attributes, dtype):
    """What onnxruntime computes for one node."""
    kinds = {
        name: onnx.helper.np_dtype_to_tensor_dtype(np.dtype(name))
        for name in {*(str(a.dtype) for a in arrays), dtype}
    }
    attributes = dict(attributes)
    extra = []
    if operator == "Clip":
        extra = [np.asarray(attributes.pop(k), arrays[0].dtype) for k in ("min", "max")]
    if operator == "Cast":
        attributes["to"] = kinds[dtype]
    names = [f"i{k}" for k in range(len(arrays) + len(extra))]
    node = onnx.helper.make_node(operator, names, ["o"], **attributes)
    inputs = [
        onnx.helper.make_tensor_value_info(n, kinds[str(a.dtype)], a.shape)
        for n, a in zip(names, arrays, strict=False)
    ]
    constants = [
        onnx.numpy_helper.from_array(a, n)
        for n, a in zip(names[len(arrays) :], extra, strict=True)
    ]
    output = onnx.helper.make_tensor_value_info("o", kinds[dtype], None)
    graph = onnx.helper.make_graph([node], "g", inputs, [output], constants)
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 22)], ir_version=10
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    feeds = dict(zip(names, arrays, strict=False))
    return session.run(None, feeds)[0]


def compute(step_list, arrays, dtype, target, orders=None, halos=None, constants=(), slices=3):
    """Run a chain; operand arrays broadcast."""
    orders = orders or [Order.ROW_MAJOR] * (len(arrays) + 1)
    halos = halos or [Halo()] * (len(arrays) + 1)
    values = [
        Value(
            f"x{k}",
            a.shape,
            str(a.dtype),
            orders[k],
            halos[k],
            constant=a if k in constants else None,
        )
        for k, a in enumerate(arrays)
    ]
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    output = Value("y", shape, dtype, orders[-1], halos[-1])
    operation = Operation(Elementwise(tuple(step_list)), values, [output])
    assert elementwise.match(operation, target) == ""
    calls = elementwise.emit(operation, target)
    start = fill(output, np.zeros(shape, dtype), halo_fill=1)
    buffers = {v: fill(v, a, 1) for v, a in zip(values, arrays, strict=True)}
    result = run_calls(calls, target, {**buffers, output: start}, slices)[output]
    got = read(output, result)
    np.testing.assert_array_equal(fill(output, got, halo_fill=1), result)  # the halo is kept
    return got


def assert_close(got, want):
    assert got.dtype == want.dtype
    if got.dtype.kind == "f":
        tolerance = 2e-3 if got.dtype == np.float16 else 4e-6
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=1e-6, equal_nan=True)
    else:
        np.testing.assert_array_equal(got, want)


def samples(dtype, shape, rng, kind=""):
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if np.dtype(dtype).kind in "iu":
        low = 0 if dtype.startswith("u") else -40
        array = rng.integers(low, 40, shape).astype(dtype)
        return np.where(array == 0, 3, array).astype(dtype) if kind == "nonzero" else array
    array = (rng.standard_normal(shape) * 3).astype(dtype)
    if kind == "positive":
        return np.abs(array) + np.asarray(0.1, dtype)
    if kind == "above one":
        return np.abs(array) + np.float32(1.01)
    if kind == "unit":
        return np.tanh(array)
    if kind == "special":
        flat = array.reshape(-1)
        flat[:6] = [np.inf, -np.inf, np.nan, 0.0, -0.0, 1.0]
    return array
