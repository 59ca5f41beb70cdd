"""DynamicQuantizeLSTM, which onnxruntime's quantize_dynamic writes.

    DynamicQuantizeLSTM(x, W, R, .., s_W, z_W, s_R, z_R)
        =>  LSTM(x, Transpose(DequantizeLinear(W)), Transpose(DequantizeLinear(R)), ..)

its matrices are [directions, K, 4 * hidden], LSTM's [directions, 4 * hidden, K]. onnxruntime also
rounds inputs and states to 8 bits at every step; here they stay float32, which is nearer to the
net that was quantized. Constant numbers are transposed now and stay in 8 bits.
"""

import numpy as np
import onnx
import onnx_ir as ir

from edgecomp.graph.body import Body
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.microsoft.call import Call

_ATTRIBUTES = (
    "activation_alpha",
    "activation_beta",
    "activations",
    "clip",
    "direction",
    "hidden_size",
    "input_forget",
)
#: Inputs: the matrices, those LSTM has as well, and scale and zero point of each matrix.
_MATRICES, _OTHERS, _PARAMETERS = (1, 2), (3, 4, 5, 6, 7), (8, 10)
_INT8_OF_UINT8 = 128


def define_dynamic_quantize_lstm(node: ir.Node) -> Body | None:
    """LSTM with weights in 8 bits."""
    body = Call(node)
    matrices = [
        _matrix(body, index, parameter)
        for index, parameter in zip(_MATRICES, _PARAMETERS, strict=True)
    ]
    if None in matrices:
        return None
    inputs = ["i0", *(m or "" for m in matrices)]
    inputs += [f"i{index}" if body.has(index) else "" for index in _OTHERS]
    while not inputs[-1]:
        inputs.pop()
    outputs = ["y", "y1", "y2"][: len(node.outputs)]
    lstm = onnx.helper.make_node("LSTM", inputs, outputs, name="lstm")
    lstm.attribute.extend(body.kept(*_ATTRIBUTES))
    body.nodes.append(lstm)
    return body


def _matrix(body: Call, index: int, parameter: int) -> str | None:
    """[D, rows, K] in float32 from constant numbers [D, K, rows]; None where they are computed."""
    numbers, scale = body.array(index), body.array(parameter)
    zero = body.array(parameter + 1)
    if numbers is None or scale is None or (zero is None and body.has(parameter + 1)):
        return None
    directions, _, rows = numbers.shape
    stored = _centred(numbers, zero)
    scales = np.broadcast_to(scale.reshape(_by_row(scale, directions)), (directions, 1, rows))
    if stored is None or (scales != scales[:1]).any():
        # Zero points of their own, or directions with other scales, have no form in 8 bits.
        return body.constant(_real(numbers, scales, zero))
    flat = np.ascontiguousarray(scales[0, 0], np.float32)
    transposed = np.ascontiguousarray(stored.transpose(0, 2, 1))
    return body.add("DequantizeLinear", body.constant(transposed), body.constant(flat), axis=1)


def _by_row(parameter: AnyArray, directions: int) -> tuple[int, int, int]:
    """One for all, one per direction, or one per direction and row."""
    if parameter.size == 1:
        return (1, 1, 1)
    return (directions, 1, parameter.size // directions)


def _centred(numbers: AnyArray, zero: AnyArray | None) -> AnyArray | None:
    """Numbers minus zero points as int8, None where they do not fit."""
    wide = numbers.astype(np.int32)
    if zero is not None:
        wide = wide - zero.astype(np.int32).reshape(_by_row(zero, numbers.shape[0]))
    fits = wide.size == 0 or np.abs(wide).max() < _INT8_OF_UINT8
    return wide.astype(np.int8) if fits else None


def _real(numbers: AnyArray, scales: AnyArray, zero: AnyArray | None) -> AnyArray:
    wide = numbers.astype(np.float32)
    if zero is not None:
        wide = wide - zero.astype(np.float32).reshape(_by_row(zero, numbers.shape[0]))
    return np.ascontiguousarray((wide * scales).astype(np.float32).transpose(0, 2, 1))
