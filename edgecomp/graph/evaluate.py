"""One node on given arrays: onnx's reference evaluator, onnxruntime where that has no code."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from edgecomp.graph.constants import AnyArray
from edgecomp.graph.reference_operators import CORRECTED
from edgecomp.onnxruntime_library import load_onnxruntime

logger = logging.getLogger(__name__)


def evaluate_node(
    node: ir.Node,
    inputs: Sequence[AnyArray | None],
    opset_imports: Mapping[str, int],
) -> list[AnyArray] | None:
    """Results of a node without subgraphs, None where neither evaluator can compute it.

    Args:
        node: operator and attributes; its own inputs are not looked at.
        inputs: arrays in input order, None for absent ones.
        opset_imports: versions of the domains.
    """
    proto = ir.serde.serialize_node(node)
    names = [f"i{index}" if array is not None else "" for index, array in enumerate(inputs)]
    del proto.input[:]
    proto.input.extend(names)
    for index, name in enumerate(proto.output):
        proto.output[index] = f"o{index}" if name else ""
    wanted = [name for name in proto.output if name]
    feeds = {
        name: array for name, array in zip(names, inputs, strict=True) if array is not None
    }
    try:
        with np.errstate(all="ignore"):  # inf and nan are results here, not accidents
            evaluator = ReferenceEvaluator(
                proto, opsets=dict(opset_imports), new_ops=CORRECTED
            )
            outputs: Any = evaluator.run(None, feeds)
    except Exception as error:  # the evaluator raises whatever its numpy code raises
        logger.debug("%s: %s; trying onnxruntime", node.op_type, error)
        outputs = _run_onnxruntime(proto, feeds, wanted, opset_imports)
    if outputs is None or len(outputs) != len(wanted):
        return None
    if any(not isinstance(output, (np.ndarray, np.generic)) for output in outputs):
        return None  # sequences and optionals
    return [np.asarray(output) for output in outputs]


def _run_onnxruntime(
    proto: onnx.NodeProto,
    feeds: Mapping[str, AnyArray],
    wanted: Sequence[str],
    opset_imports: Mapping[str, int],
) -> list[AnyArray] | None:
    onnxruntime = load_onnxruntime()
    values = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in feeds.items()
    ]
    results = [onnx.ValueInfoProto(name=name) for name in wanted]
    graph = onnx.helper.make_graph([proto], "node", values, results)
    opsets = [onnx.helper.make_opsetid(*item) for item in opset_imports.items()]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, ["CPUExecutionProvider"]
        )
        outputs: list[AnyArray] = session.run(list(wanted), dict(feeds))
    except Exception as error:  # onnxruntime's exception types share no public base
        logger.debug("%s: %s", proto.op_type, error)
        return None
    return outputs
