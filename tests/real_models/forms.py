"""The forms of a model that are compared: torch, onnxruntime and edgecomp, float and int8."""

import contextlib

import numpy as np
import onnx
import onnx.reference
import onnx.version_converter
from helpers.onnxruntime_quantizer import quantize_by_onnxruntime

from edgecomp import api
from edgecomp.graph.reference_operators import CORRECTED
from edgecomp.options import BuildOptions


def onnxruntime_session(path, *, rewrite=True):
    """feed -> outputs of a file under onnxruntime, on one thread.

    Args:
        path: of the file.
        rewrite: let it optimize the graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not rewrite:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
    return lambda feed: session.run(None, feed)


def onnxruntime_outputs(path, feeds):
    """Outputs of a file for several feeds."""
    run = onnxruntime_session(path)
    return [run(feed) for feed in feeds]


def float64_outputs(path, feeds):
    """Outputs of a file whose floats are computed in float64, by onnx's reference evaluator."""
    model = onnx.load(path)
    graph, single, double = model.graph, onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
    constants = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == single:
                attribute.i = double
            if attribute.type == onnx.AttributeProto.TENSOR:
                constants.append(attribute.t)
    for tensor in constants:
        if tensor.data_type == single:
            array = onnx.numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.type.tensor_type.elem_type == single:
            value.type.tensor_type.elem_type = double
    evaluator = onnx.reference.ReferenceEvaluator(model, new_ops=CORRECTED)
    return [evaluator.run(None, {name: _wide(a) for name, a in f.items()}) for f in feeds]


def _wide(array):
    return array.astype(np.float64) if array.dtype == np.float32 else array


def onnxruntime_int8(path, feeds, folder):
    """The file after onnxruntime's static quantization: its defaults, per channel if it can."""
    result = folder / "onnxruntime_int8.onnx"
    source = onnx.load(path)
    if source.opset_import[0].version < 13:  # scales per channel are newer
        path = folder / "upgraded.onnx"
        onnx.save(onnx.version_converter.convert_version(source, 17), path)
    for per_channel in (True, False):  # it fails on some models with the first
        with contextlib.suppress(ValueError):
            quantize_by_onnxruntime(path, feeds, result, per_channel=per_channel)
            break
    return result


def build(model, path, folder, precision, most_samples=300):
    """A bundle of a real model for this machine."""
    options = BuildOptions(
        precision=precision,
        num_samples=most_samples,
        input=model.inputs,
        name=model.name,
        output=folder / f"{model.name}_{precision}",
        force=True,
    )
    calibration = model.calibration()[:most_samples] if precision == "w8a8" else None
    return api.build(path, options, calibration_dataset=calibration)


def bundle_outputs(bundle, feeds):
    """Outputs of a bundle in this process, in the order of the graph."""
    ports = [port.name for port in bundle.inputs]
    with bundle:
        return [
            list(bundle.run(dict(zip(ports, feed.values(), strict=True))).values())
            for feed in feeds
        ]


def distance(found, expected):
    """Largest difference of any output, over that output's range in all samples."""
    worst = 0.0
    for port in range(len(expected[0])):
        a = np.stack([outputs[port] for outputs in found]).astype(np.float64)
        b = np.stack([outputs[port] for outputs in expected]).astype(np.float64)
        worst = max(worst, float(np.abs(a - b).max() / max(b.max() - b.min(), 1e-30)))
    return worst


def signal_to_noise(found, expected):
    """dB of all outputs together, each scaled by its own power."""
    noise = []
    for port in range(len(expected[0])):
        a = np.stack([outputs[port] for outputs in found]).astype(np.float64)
        b = np.stack([outputs[port] for outputs in expected]).astype(np.float64)
        noise.append(((a - b) ** 2).sum() / max((b**2).sum(), 1e-300))
    return -10 * float(np.log10(max(np.mean(noise), 1e-30)))
