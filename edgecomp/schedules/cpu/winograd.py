"""3x3 float convolutions of stride 1 by Winograd's method, where it is modelled to be faster."""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.plan.values import Array, Value
from edgecomp.schedules.cpu import convolution
from edgecomp.schedules.cpu.arithmetic import Arithmetic
from edgecomp.schedules.cpu.arithmetic_paired import PairedFma
from edgecomp.schedules.cpu.epilogue import float_epilogue
from edgecomp.schedules.cpu.packing import pad_columns
from edgecomp.schedules.cpu.paired_numbers import Pairing, pair_weights
from edgecomp.schedules.cpu.tiles import Cut, ProductShape, Split, ranked_cuts
from edgecomp.schedules.cpu.winograd_cost import (
    choose_outputs,
    direct_cycles,
    products_arithmetic,
    winograd_cycles,
)
from edgecomp.schedules.cpu.winograd_kernel import emit_winograd
from edgecomp.schedules.cpu.winograd_layer import WinogradLayer
from edgecomp.schedules.cpu.winograd_matrices import (
    POINTS,
    TAPS,
    transform_weights,
    winograd,
)
from edgecomp.schedules.cpu.winograd_tiles import image_tiles, params_for, product_shape
from edgecomp.schedules.params import (
    ParamsError,
    params_text,
    read_params,
    require_none,
    require_range,
)
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "winograd_f32_nhwc"

#: Tiles modelled to take more than this many times the direct product's cycles are not measured.
WORST_RATIO = 1.5
#: Register tiles to measure for each size of tiles.
MOST_CUTS = 3


def match(operation: Operation, target: Target) -> str:
    """Claim convolutions that are faster so than as an implicit matrix product."""
    reason = refusal(operation, target)
    if not reason and choose_outputs(operation, target) is None:
        return "the direct product is modelled to be faster"
    return reason


def refusal(operation: Operation, target: Target) -> str:
    """Return "" for convolutions that the kernel computes, else why not."""
    reason = convolution.match(operation, target)
    if reason:
        return reason
    if operation.inputs[1].dtype not in ("float32", "int8"):
        return "its transformed weights would be float32, larger than the model's"
    return refuse_form(operation)


def refuse_form(operation: Operation) -> str:
    """Why the method is not for a convolution, "" where it is."""
    kind = operation.kind
    assert isinstance(kind, Convolution)
    if kind.finish is not None:
        return "integer"
    window = operation.inputs[1].shape[2:]
    if window != (TAPS, TAPS) or kind.strides != (1, 1) or kind.dilations != (1, 1):
        return f"window {window}, strides {kind.strides}, dilations {kind.dilations}"
    if kind.groups != 1:
        return f"{kind.groups} groups"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    outputs = choose_outputs(operation, target)
    assert outputs is not None
    return [emit_with(operation, target, outputs)]


def candidates(operation: Operation, target: Target) -> list[str]:
    """Sizes of tiles and register tiles to measure.

    Also those that are modelled to be slower than the direct product, where not by far.
    """
    if refusal(operation, target):
        return []
    own = choose_outputs(operation, target)
    most = direct_cycles(operation, target) * WORST_RATIO
    found = []
    for outputs in sorted(POINTS, key=lambda outputs: (outputs != own, outputs)):
        if min(operation.output.shape[2:]) < outputs:
            continue
        if outputs != own and winograd_cycles(operation, target, outputs) > most:
            continue
        found += [_text(outputs, cut) for cut in _cuts(operation, target, outputs)]
    return found


def _cuts(operation: Operation, target: Target, outputs: int) -> list[Cut]:
    """Register tiles of the products worth measuring, the cost model's own first."""
    arithmetic = products_arithmetic(operation, target, outputs)
    shape = _product_shape(operation, outputs, arithmetic)
    return [cut for _, cut in ranked_cuts(shape, arithmetic, target)][:MOST_CUTS]


def _product_shape(operation: Operation, outputs: int, arithmetic: Arithmetic) -> ProductShape:
    """The products, each a group."""
    return product_shape(
        image_tiles(operation.output.shape, outputs).count,
        operation.inputs[0].shape[1],
        operation.output.shape[1],
        winograd(outputs),
        arithmetic,
    )


def _text(outputs: int, cut: Cut) -> str:
    _, rows, vectors = cut
    return params_text({"outputs": outputs, "rows": rows.large, "vectors": vectors.large})


def emit_candidate(operation: Operation, target: Target, params: str) -> list[KernelCall]:
    """One kernel with given tiles."""
    require_none(refusal(operation, target))
    values = read_params(params, ("outputs", "rows", "vectors"))
    outputs = values["outputs"]
    if outputs not in POINTS:
        raise ParamsError(f"no tiles of {outputs} x {outputs}")
    require_range("outputs", outputs, 1, min(operation.output.shape[2:]))
    arithmetic = products_arithmetic(operation, target, outputs)
    shape = _product_shape(operation, outputs, arithmetic)
    require_range("rows", values["rows"], 1, shape.rows[0])
    require_range("vectors", values["vectors"], 1, shape.vectors)
    rows = Split.by_size(shape.rows[0], values["rows"])
    vectors = Split.by_size(shape.vectors, values["vectors"])
    registers = target.core.vector_registers
    if not arithmetic.fits(rows.large, vectors.large, registers) and rows.large > 1:
        raise ParamsError("the tile does not fit the registers")
    return [emit_with(operation, target, outputs, (0, rows, vectors))]


def emit_with(
    operation: Operation, target: Target, outputs: int, cut: Cut | None = None
) -> KernelCall:
    """The kernel with tiles of ``outputs`` x ``outputs``, products cut as given."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, Convolution)
    x, weight, bias = operation.inputs[:3]
    assert weight.constant is not None
    assert bias.constant is not None
    residual = operation.inputs[-1] if kind.residual else None
    arithmetic = products_arithmetic(operation, target, outputs)
    matrices = winograd(outputs)
    tiles = image_tiles(output.shape, outputs)
    channels, columns = x.shape[1], output.shape[1]
    params = params_for(tiles, channels, columns, matrices, arithmetic, target, cut)
    padded = params.vectors.extent * arithmetic.lanes
    transformed = transform_weights(weight.constant, matrices)
    pairing = Pairing.of(channels) if isinstance(arithmetic, PairedFma) else None
    factors: Array | None = None
    starts: list[Array] = []
    if pairing is not None:
        transformed, factors, starts = _pair_products(transformed, pairing, padded)
    layer = WinogradLayer(
        x=x.view,
        output=output.view,
        residual=residual.view if residual is not None else None,
        pads=kind.pads[:2],
        matrices=matrices,
        tiles=tiles,
        params=params,
        pairing=pairing,
        has_factors=factors is not None,
    )
    epilogue = float_epilogue(kind.activation, residual)
    kernel = emit_winograd(layer, arithmetic, epilogue, target)
    biases = pad_columns(bias.constant[None].astype(np.float32), padded)
    constants = [biases, *([] if factors is None else [factors]), *starts]
    arguments: list[Value | Constant] = [
        x,
        Constant(
            f"{weight.name}.winograd",
            pack_weights(transformed, params.vectors, arithmetic.lanes),
        ),
        Constant(f"{weight.name}.bias", np.concatenate(constants)),
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


def _pair_products(
    transformed: Array, pairing: Pairing, padded: int
) -> tuple[Array, Array | None, list[Array]]:
    """Transformed weights [products, C, M] for pairs.

    Returns:
        Weights in the loop's order, factors of the channels where any product has some, and what
        accumulators start from and are multiplied by.
    """
    products = [pair_weights(product.T, pairing) for product in transformed]
    ordered = np.stack([each.weights.T[pairing.order] for each in products])
    columns = [
        pad_columns(np.stack([each.start for each in products]), padded),
        pad_columns(np.stack([each.multiplier for each in products]), padded),
    ]
    if all(each.factors is None for each in products):
        return ordered, None, columns
    ones = np.ones(pairing.depth, np.float32)
    factors = [ones if each.factors is None else each.factors for each in products]
    return ordered, np.concatenate(factors), columns


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
