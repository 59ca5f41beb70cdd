"""3x3 float convolutions of stride 1 by Winograd's method, where it is modelled to be faster."""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Convolution, Operation
from edgecomp.plan.values import Array, Value
from edgecomp.schedules.cpu import convolution
from edgecomp.schedules.cpu.arithmetic_f32 import arithmetic_f32
from edgecomp.schedules.cpu.epilogue import float_epilogue
from edgecomp.schedules.cpu.packing import pad_columns
from edgecomp.schedules.cpu.tiles import Split
from edgecomp.schedules.cpu.winograd_cost import choose_outputs
from edgecomp.schedules.cpu.winograd_kernel import WinogradLayer, emit_winograd
from edgecomp.schedules.cpu.winograd_matrices import TAPS, transform_weights, winograd
from edgecomp.schedules.cpu.winograd_tiles import image_tiles, params_for
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "winograd_f32_nhwc"


def match(operation: Operation, target: Target) -> str:
    """Claim convolutions that are faster so than as an implicit matrix product."""
    kind = operation.kind
    reason = convolution.match(operation, target)
    if reason:
        return reason
    assert isinstance(kind, Convolution)
    if kind.finish is not None:
        return "integer"
    window = operation.inputs[1].shape[2:]
    if window != (TAPS, TAPS) or kind.strides != (1, 1) or kind.dilations != (1, 1):
        return f"window {window}, strides {kind.strides}, dilations {kind.dilations}"
    if kind.groups != 1:
        return f"{kind.groups} groups"
    if choose_outputs(operation, target) is None:
        return "the direct product is modelled to be faster"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    outputs = choose_outputs(operation, target)
    assert outputs is not None
    return [emit_with(operation, target, outputs)]


def emit_with(operation: Operation, target: Target, outputs: int) -> KernelCall:
    """The kernel with tiles of ``outputs`` x ``outputs``."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, Convolution)
    x, weight, bias = operation.inputs[:3]
    assert weight.constant is not None
    assert bias.constant is not None
    residual = operation.inputs[3] if kind.residual else None
    arithmetic = arithmetic_f32(target)
    matrices = winograd(outputs)
    tiles = image_tiles(output.shape, outputs)
    channels, columns = x.shape[1], output.shape[1]
    params = params_for(tiles, channels, columns, matrices, arithmetic, target)
    layer = WinogradLayer(
        x=x.view,
        output=output.view,
        residual=residual.view if residual is not None else None,
        pads=kind.pads[:2],
        matrices=matrices,
        tiles=tiles,
        params=params,
    )
    epilogue = float_epilogue(kind.activation, residual)
    kernel = emit_winograd(layer, arithmetic, epilogue, target)
    lanes = arithmetic.lanes
    transformed = transform_weights(weight.constant, matrices)
    arguments: list[Value | Constant] = [
        x,
        Constant(f"{weight.name}.winograd", pack_weights(transformed, params.vectors, lanes)),
        Constant(
            f"{weight.name}.bias",
            pad_columns(bias.constant[None].astype(np.float32), params.vectors.extent * lanes),
        ),
    ]
    if residual is not None:
        arguments.append(residual)
    arguments.append(output)
    return KernelCall(
        kernel=kernel,
        arguments=tuple(arguments),
        work_items=layer.work_items,
        grain_items=layer.grain_items,
        workspace_bytes=4 * layer.workspace_elements,
        multiply_adds=convolution.product(operation).multiply_adds,
    )


def pack_weights(weights: Array, vectors: Split, lanes: int) -> Array:
    """Transformed weights in reading order.

    Args:
        weights: float32 [products, C, M].
        vectors: of the columns in blocks.
        lanes: of a vector.

    Returns:
        Flat: per column block [products][C][columns], zeros behind M.
    """
    padding = vectors.extent * lanes - weights.shape[2]
    full = np.pad(weights, ((0, 0), (0, 0), (0, padding)))
    parts = [
        full[:, :, start * lanes : (start + size) * lanes].reshape(-1)
        for start, size in vectors.starts()
    ]
    return np.concatenate(parts)
