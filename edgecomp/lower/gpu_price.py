"""What an operation, a copy and a change of device cost on a target's GPU, by a model.

An operation takes as long as its arithmetic or its bytes, whichever is more, and what the driver
needs for a call; longer where its results are too few to keep the device busy. The figures are
those of ``gpu.speed`` in the target's file: what a good kernel reaches, not the peak.
"""

from edgecomp.device.target import GpuSpeed
from edgecomp.lower.cost import multiply_adds
from edgecomp.plan.attention import Softmax
from edgecomp.plan.movement import Gather, GatherParts
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import PackedMatrixMultiply
from edgecomp.plan.reductions import LayerNorm, Pool, Reduce
from edgecomp.plan.values import Value, largest_bytes
from edgecomp.schedules.gpu.places import LANES

#: Arithmetic for an element of what is no product: a chain of a few steps.
_ELEMENT_OPERATIONS = 8
#: Passes of a softmax over its rows.
_SOFTMAX_PASSES = 3


def gpu_seconds(operation: Operation, speed: GpuSpeed, busy_items: int = 1) -> float:
    """Time of an operation's calls.

    Args:
        operation: that the GPU has a schedule for.
        speed: of the GPU.
        busy_items: work items that keep it busy.
    """
    written = sum(map(_bytes, operation.outputs))
    bytes_moved = written + sum(_bytes_read(value, operation) for value in operation.inputs)
    is_integer = any(value.dtype in ("int8", "uint8") for value in operation.inputs[:1])
    giga = speed.int8_gigaops if is_integer else speed.float_gigaflops
    arithmetic = _operations(operation) / (giga * 1e9)
    memory = bytes_moved / (speed.gigabytes_per_second * 1e9)
    idle = max(1.0, busy_items / _work_items(operation))
    return speed.launch_us * 1e-6 + max(arithmetic, memory) * idle


def _work_items(operation: Operation) -> float:
    """Those that schedules make: one for a vector of results, or of what is reduced to them."""
    shared: list[Value] = list(operation.outputs)
    if isinstance(operation.kind, (Reduce, Softmax, LayerNorm)):
        shared += operation.inputs[:1]
    return max(1.0, max(value.elements for value in shared) / LANES)


def copy_seconds(value: Value, speed: GpuSpeed) -> float:
    """Time to bring a value's memory from one device's to the other's."""
    rate = speed.copy_gigabytes_per_second * 1e9
    return speed.copy_us * 1e-6 + largest_bytes(value) / rate


def _operations(operation: Operation) -> int:
    """Additions and multiplications."""
    products = 2 * multiply_adds(operation)
    if products:
        return products
    kind = operation.kind
    elements = sum(value.elements for value in operation.outputs)
    if isinstance(kind, Pool):
        return elements * kind.window[0] * kind.window[1]
    passes = _SOFTMAX_PASSES if isinstance(kind, Softmax) else 1
    most = max(elements, *(value.elements for value in operation.inputs), 0)
    return _ELEMENT_OPERATIONS * passes * most


def _bytes_read(value: Value, operation: Operation) -> int:
    """All of an input, but of what is indexed no more than becomes a result."""
    if isinstance(operation.kind, Gather | GatherParts) and value is operation.inputs[0]:
        return min(_bytes(value), _bytes(operation.outputs[0]))
    if isinstance(operation.kind, PackedMatrixMultiply) and value is operation.inputs[1]:
        return -(-value.elements * operation.kind.bits // 8)  # one to a byte until packed
    return _bytes(value)


def _bytes(value: Value) -> int:
    return value.constant.nbytes if value.constant is not None else largest_bytes(value)
