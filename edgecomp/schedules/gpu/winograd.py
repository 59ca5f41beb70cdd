"""3x3 float convolutions of stride 1 by Winograd's method, in three kernels.

    tiles:     B^T d B of every tile of the image and its channels
    products:  for each of the n x n places a product of matrices, tiles by channels
    outputs:   A^T s A of every tile and its output channels, bias, residual, activation

The tiles and what follows of them go through the device's memory: that pays where multiplying
costs more than it saves (``winograd_price.py``). Matrices and weights are those of the processor's
kernel (``schedules/cpu/winograd_matrices.py``).

The tiles are float32, as all arithmetic: the image, the residual and the results have the types that they are
stored in. Transformed weights keep the type of the model's: in 16 bits they change a result by 1.1 to 1.6 times
what rounding it to the type does with tiles of 2x2, by 2.3 to 4.9 times with 4x4, which are for weights of
float32 alone. Products in half would change it by 4 to 6 and 8 to 17 times, where the direct sums of
``product_kernel.py`` change it by 2.3 to 3.4: there are none.
"""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.plan.values import Array, Value
from edgecomp.schedules.cpu import convolution as implicit
from edgecomp.schedules.cpu import winograd as cpu
from edgecomp.schedules.cpu.epilogue import float_epilogue
from edgecomp.schedules.cpu.product import Product, RowDimension, RunDimension
from edgecomp.schedules.cpu.winograd_matrices import transform_weights, winograd
from edgecomp.schedules.cpu.winograd_tiles import image_tiles
from edgecomp.schedules.gpu import convolution
from edgecomp.schedules.gpu.dense import in_memory
from edgecomp.schedules.gpu.dense_kernel import DeviceProduct, ProductTask
from edgecomp.schedules.gpu.places import gpu_of
from edgecomp.schedules.gpu.product_kernel import emit_product
from edgecomp.schedules.gpu.shared_kernel import choose_shared_tile, emit_shared_product
from edgecomp.schedules.gpu.winograd_price import SMALLEST_OUTPUTS, choose_outputs
from edgecomp.schedules.gpu.winograd_transforms import emit_outputs, emit_tiles
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "winograd"


def match(operation: Operation, target: Target) -> str:
    """Claim convolutions that are modelled to be faster so."""
    reason = convolution.match(operation, target) or cpu.refuse_form(operation)
    if reason:
        return reason
    if not _keep_type(operation):
        return "its transformed weights are no numbers of their type"
    if choose_outputs(operation, gpu_of(target)) is None:
        return "the direct product is modelled to be faster"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """Three kernels."""
    outputs = choose_outputs(operation, gpu_of(target))
    assert outputs is not None
    return emit_with(operation, target, outputs)


def emit_with(operation: Operation, target: Target, outputs: int) -> list[KernelCall]:
    """The kernels with tiles of ``outputs`` x ``outputs``."""
    kind, y = operation.kind, operation.output
    assert isinstance(kind, Convolution)
    x, weight, bias = operation.inputs[:3]
    assert weight.constant is not None
    assert bias.constant is not None
    residual = operation.inputs[-1] if kind.residual else None
    matrices, tiles = winograd(outputs), image_tiles(y.shape, outputs)
    places, channels, columns = matrices.inputs**2, x.shape[1], y.shape[1]
    transformed = Value(f"{y.name}.tiles", (places, tiles.count, channels), "float32")
    sums = Value(f"{y.name}.sums", (tiles.count, places, columns), "float32")
    # [places, C, M] to a row for each column of each group.
    weights = transform_weights(weight.constant, matrices).transpose(0, 2, 1)
    weights = weights.reshape(-1, channels).astype(weight.constant.dtype)
    made = _products(transformed, sums, weights, target)
    into, launch_into = emit_tiles(x, kind.pads[:2], matrices, tiles, target)
    out, launch_out = emit_outputs(
        y.view,
        residual.view if residual is not None else None,
        matrices,
        tiles,
        in_memory(float_epilogue(kind.activation, residual), y, residual),
        target,
    )
    label = weight.name
    constants = [
        Constant(f"{label}.winograd", made.weights),
        Constant(f"{label}.no_bias", made.bias),
    ]
    last: list[Value | Constant] = [
        sums,
        Constant(f"{label}.bias", bias.constant.astype(np.float32)),
    ]
    if residual is not None:
        last.append(residual)
    return [
        KernelCall(into, (x, transformed), 1, launch=launch_into),
        KernelCall(
            made.kernel,
            (transformed, *constants, sums),
            1,
            multiply_adds=implicit.product(operation).multiply_adds,
            launch=made.launch,
        ),
        KernelCall(out, (*last, y), 1, launch=launch_out),
    ]


def _keep_type(operation: Operation) -> bool:
    """Whether transformed weights are numbers of the weights' type."""
    weight = operation.inputs[1].constant
    assert weight is not None
    if weight.dtype == np.float32:
        return True
    matrices = winograd(SMALLEST_OUTPUTS)
    reach = max(sum(map(abs, row)) for row in matrices.weight_matrix)
    largest = np.abs(weight.astype(np.float64)).max(initial=0) * float(reach) ** 2
    with np.errstate(over="ignore"):
        return bool(np.isfinite(np.array(largest).astype(weight.dtype)))


def _products(tiles: Value, sums: Value, weights: Array, target: Target) -> DeviceProduct:
    """A product of matrices for each place of the tiles.

    Args:
        tiles: [places, tiles, channels].
        sums: [tiles, places, columns].
        weights: [places * columns, channels], float32 or of 16 bits.
        target: the device.
    """
    (places, count, channels), columns = tiles.shape, sums.shape[2]
    product = Product(
        rows=(RowDimension(count, channels, places * columns),),
        depth=(RunDimension(channels, 1),),
        columns=columns,
        groups=places,
        x_group_stride=count * channels,
        x_elements=tiles.elements,
        output_elements=sums.elements,
    )
    tile = choose_shared_tile(product, gpu_of(target))
    make = emit_product if tile is None else emit_shared_product
    return make(
        ProductTask(
            "winograd_products",
            product,
            float_epilogue(None, None),
            target,
            "float32",
            weights,
            np.zeros(places * columns, np.float32),
        )
    )
