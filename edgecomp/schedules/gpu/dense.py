"""What convolutions and matrix products on a GPU share."""

import dataclasses
from collections.abc import Callable

from edgecomp.device.target import Target
from edgecomp.plan.finish import RuntimeScale
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Array, Value, largest_elements
from edgecomp.schedules.cpu.dense import Dense, epilogue_of, residual_of
from edgecomp.schedules.cpu.epilogue import Epilogue
from edgecomp.schedules.cpu.product import Product
from edgecomp.schedules.gpu.dense_kernel import DeviceProduct, ProductTask
from edgecomp.schedules.gpu.halves import HALVES
from edgecomp.schedules.gpu.product_kernel import emit_product
from edgecomp.schedules.schedule import Constant, KernelCall


def refuse_product(kind: Dense, operation: Operation) -> str:
    """Why a product is not for the GPU, "" where it is."""
    if isinstance(kind.finish, RuntimeScale):
        return "activations that are quantized while the model runs"
    dtype = operation.inputs[1].dtype
    return "" if dtype in ("float32", "int8", *HALVES) else f"weights of {dtype}"


def in_memory(epilogue: Epilogue, output: Value, residual: Value | None) -> Epilogue:
    """The epilogue with the types that its values are stored in."""
    residual_dtype = residual.stored if residual is not None else ""
    if not output.storage:
        return dataclasses.replace(epilogue, residual_dtype=residual_dtype)
    return dataclasses.replace(
        epilogue, output_dtype=output.storage, residual_dtype=residual_dtype
    )


def emit_dense(
    name: str,
    kind: Dense,
    product: Product,
    operation: Operation,
    target: Target,
    weight: Array,
    make: Callable[[ProductTask], DeviceProduct] = emit_product,
) -> KernelCall:
    """The call of a claimed operation.

    Args:
        name: of the kind.
        kind: of the operation.
        product: addresses.
        operation: gives x, bias, residual and output.
        target: the device.
        weight: [output channels, K].
        make: emits the kernel.
    """
    x, bias, residual = (
        operation.inputs[0],
        operation.inputs[2].constant,
        residual_of(operation),
    )
    assert bias is not None
    # As many as there is memory for: an image over it has no more rows.
    product = dataclasses.replace(product, x_elements=largest_elements(x))
    epilogue = in_memory(
        epilogue_of(kind, operation.output, residual), operation.output, residual
    )
    made = make(ProductTask(name, product, epilogue, target, x.stored, weight, bias))
    label = operation.inputs[1].name
    arguments: list[Value | Constant] = [
        x,
        Constant(f"{label}.packed", made.weights),
        Constant(f"{label}.bias", made.bias),
    ]
    if made.multiplier is not None:
        arguments.append(Constant(f"{label}.multiplier", made.multiplier))
    if residual is not None:
        arguments.append(residual)
    arguments.append(operation.output)
    return KernelCall(
        made.kernel,
        tuple(arguments),
        1,
        multiply_adds=product.multiply_adds,
        dynamic=made.dynamic,
        launch=made.launch,
    )
