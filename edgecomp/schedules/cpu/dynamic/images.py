"""Windows over images whose height and width are known only when the model runs.

Depthwise convolutions, pools and resizes with the tiles of the largest sizes: the static kernels'
code around loops and strides that a run gives.
"""

from collections.abc import Sequence

from edgecomp.device.target import Target
from edgecomp.plan.movement import Resize
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.plan.reductions import Pool
from edgecomp.plan.sizes import Dimension, exact_quotient, has_dynamic, is_dynamic, largest
from edgecomp.plan.values import Order, Value
from edgecomp.schedules.builder import Kernel, KernelBuilder
from edgecomp.schedules.cpu import depthwise, depthwise_f32, depthwise_int8, pool, resize
from edgecomp.schedules.cpu.depthwise_f32_kernel import FloatKernel
from edgecomp.schedules.cpu.depthwise_int8_kernel import Int8Kernel
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.schedule import Constant, Dynamic, KernelCall

NAME = "images"


def match(operation: Operation, target: Target) -> str:
    """Depthwise convolutions, pools and resizes of images of static channels."""
    kind = operation.kind
    if not isinstance(kind, Convolution | Pool | Resize):
        return "not a window over images"
    values = [v for v in (*operation.inputs, operation.output) if v.constant is None]
    if any(v.order is not Order.NHWC or is_dynamic(v.shape[1]) for v in values):
        return "channels of dynamic number"
    if has_dynamic(size for size in _numbers(kind)):
        return "a window that depends on the size"
    twin = Twin(operation).operation
    if isinstance(kind, Resize):
        return resize.match(twin, target)
    if isinstance(kind, Pool):
        return pool.match(twin, target) or pool.window_of(kind).refusal(
            operation.inputs[0], operation.output
        )
    reasons: list[str] = [
        schedule.match(twin, target) for schedule in (depthwise_f32, depthwise_int8)
    ]
    if all(reasons):
        return reasons[0] if operation.inputs[0].dtype == "float32" else reasons[1]
    return depthwise.window_of(operation).refusal(operation.inputs[0], operation.output)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; a work item is a row of output, of a group of channels."""
    kind, twin = operation.kind, Twin(operation).operation
    if isinstance(kind, Resize):
        return [_resize(operation, target)]
    if isinstance(kind, Pool):
        return [_pool(operation, twin, target)]
    if depthwise_f32.match(twin, target):
        return [_integer_depthwise(operation, twin, target)]
    return [_float_depthwise(operation, twin, target)]


def _numbers(kind: Convolution | Pool | Resize) -> list[Dimension]:
    if isinstance(kind, Resize):
        return []
    own = kind.window if isinstance(kind, Pool) else ()
    return [*own, *kind.strides, *kind.dilations, *kind.pads]


def _float_depthwise(operation: Operation, twin: Operation, target: Target) -> KernelCall:
    x, weight, _, *residual = operation.inputs
    walk = depthwise_f32.params_for(target, twin, loops=False)
    emitter = FloatKernel(operation, target, walk)
    kernel, items = emitter.build(f"{depthwise_f32.NAME}_dynamic")
    packed = Constant(f"{weight.name}.packed", emitter.packing.data)
    arguments: list[Value | Constant] = [x, packed, *residual, operation.output]
    multiply_adds = largest(operation.output.elements) * weight.shape[2] * weight.shape[3]
    return _call(kernel, emitter.builder, arguments, items, multiply_adds)


def _integer_depthwise(operation: Operation, twin: Operation, target: Target) -> KernelCall:
    x, weight, bias, *residual = operation.inputs
    is_even = exact_quotient(operation.output.shape[2], 2) is not None
    params = depthwise_int8.params_for(target, twin, pairs=is_even)
    emitter = Int8Kernel(operation, target, params)
    kernel, items = emitter.build(f"{depthwise_int8.NAME}_dynamic")
    constants = (
        Constant(f"{weight.name}.packed", emitter.weights.data),
        Constant(f"{bias.name}.packed", emitter.bias.data),
        Constant(f"{weight.name}.multiplier", emitter.multiplier.data),
    )
    arguments: list[Value | Constant] = [x, *constants, *residual, operation.output]
    multiply_adds = largest(operation.output.elements) * weight.shape[2] * weight.shape[3]
    return _call(kernel, emitter.builder, arguments, items, multiply_adds)


def _pool(operation: Operation, twin: Operation, target: Target) -> KernelCall:
    emitter = pool.PoolKernel(operation, target, twin)
    items = emitter.emit()
    kernel = emitter.builder.finish(f"{emitter.name}_dynamic")
    divisors = [Constant("divisors", emitter.divisors)] if emitter.by_table else []
    arguments: list[Value | Constant] = [operation.inputs[0], *divisors, operation.output]
    return _call(kernel, emitter.builder, arguments, items)


def _resize(operation: Operation, target: Target) -> KernelCall:
    emitter = resize.ResizeKernel(operation, target)
    items = emitter.emit()
    kernel = emitter.builder.finish(f"{emitter.name}_dynamic")
    arguments: list[Value | Constant] = [
        operation.inputs[0],
        *resize.tables_of(operation),
        operation.output,
    ]
    return _call(kernel, emitter.builder, arguments, items)


def _call(
    kernel: Kernel,
    builder: KernelBuilder,
    arguments: Sequence[Value | Constant],
    items: Dimension,
    multiply_adds: int = 0,
) -> KernelCall:
    return KernelCall(
        kernel,
        tuple(arguments),
        largest(items),
        multiply_adds=multiply_adds,
        dynamic=Dynamic(items, sizes=builder.sizes),
    )
