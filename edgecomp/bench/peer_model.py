"""What other runtimes' converters start from: the float model, and a description of it.

    x -> QuantizeLinear -> DequantizeLinear -> Conv        x -> Conv
    int8 weights -> DequantizeLinear -> Conv          ->   float weights -> Conv

A runtime that quantizes by itself has to see the model before edgecomp did; the weights keep the
8-bit values they were rounded to, which changes no time and hardly a number.
"""

import json
import pathlib
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.constants import constant_array, new_initializer
from edgecomp.graph.edit import remove_unused, replace_value
from edgecomp.graph.evaluate import evaluate_node

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def drop_quantization(model: ir.Model) -> ir.Model:
    """A copy without Quantize and Dequantize nodes.

    Scope: main graph.

    Raises:
        EdgecompError: OPERATOR_UNSUPPORTED where an integer is an input or output of the model
            or of another operator.
    """
    result = model.clone()
    for node in [n for n in result.graph if n.op_type == _DEQUANTIZE]:
        replace_value(node.outputs[0], _float_value(node, result))
    remove_unused(result)
    left = [node for node in result.graph if node.op_type in (_QUANTIZE, _DEQUANTIZE)]
    if left:
        raise EdgecompError(
            Code.OPERATOR_UNSUPPORTED,
            "the float model cannot be told from the quantized one: integers leave it",
            node=left[0].name or "",
            hint="compare with onnxruntime, which runs the quantized file",
        )
    return result


def describe(model: ir.Model, folder: pathlib.Path) -> None:
    """Write ``graph.json`` and ``graph.npz`` for ``peers.torch_graph``.

    Raises:
        EdgecompError: OPERATOR_UNSUPPORTED for a node with a graph as an attribute.
    """
    nodes: list[dict[str, Any]] = []
    constants: dict[str, np.ndarray[Any, Any]] = {}
    for name, value in model.graph.initializers.items():
        array = constant_array(value)
        assert array is not None
        constants[name] = array
    for node in model.graph:
        if node.op_type == "Constant":
            array = constant_array(node.outputs[0])
            assert array is not None
            constants[node.outputs[0].name or ""] = array
            continue
        nodes.append(
            {
                "operator": f"{node.domain}.{node.op_type}" if node.domain else node.op_type,
                "inputs": [value.name if value is not None else "" for value in node.inputs],
                "outputs": [value.name for value in node.outputs],
                "attributes": _attributes(node),
            }
        )
    keys = {name: f"c{index}" for index, name in enumerate(constants)}
    description = {
        "inputs": [value.name for value in model.graph.inputs],
        "outputs": [value.name for value in model.graph.outputs],
        "constants": keys,
        "nodes": nodes,
    }
    (folder / "graph.json").write_text(json.dumps(description))
    arrays = {keys[name]: np.array(array) for name, array in constants.items()}
    np.savez(folder / "graph.npz", allow_pickle=False, **arrays)


def _float_value(node: ir.Node, model: ir.Model) -> ir.Value:
    """What a DequantizeLinear stands for: the value before Quantize, or a constant."""
    graph = model.graph
    source = node.inputs[0]
    assert source is not None
    producer = source.producer()
    if producer is not None and producer.op_type == _QUANTIZE:
        before = producer.inputs[0]
        assert before is not None
        return before
    arrays = [constant_array(value) for value in node.inputs]
    if arrays[0] is None:
        raise EdgecompError(
            Code.OPERATOR_UNSUPPORTED,
            "the float model cannot be told from the quantized one: integers enter it",
            node=node.name or "",
            hint="compare with onnxruntime, which runs the quantized file",
        )
    found = evaluate_node(node, arrays, model.opset_imports)
    assert found is not None
    name = f"{source.name}_float"
    if name in graph.initializers:
        return graph.initializers[name]
    return new_initializer(graph, name, found[0].astype(np.float32))


def _attributes(node: ir.Node) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, attribute in node.attributes.items():
        value = attribute.value
        if attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
            raise EdgecompError(
                Code.OPERATOR_UNSUPPORTED,
                f"{node.op_type} holds a graph, which has no torch form here",
                node=node.name or "",
                hint="compare with a runtime that reads ONNX",
            )
        if attribute.type == ir.AttributeType.TENSOR:
            value = value.numpy().tolist()
        found[name] = list(value) if isinstance(value, tuple) else value
    return found
