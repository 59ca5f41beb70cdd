"""Elementwise operations between one-dimensional convolutions work on images of height 1.

    conv [N,C,1,W] -> Reinterpret [N,C,W] -> Relu -> Reinterpret [N,C,1,W] -> conv
        =>   conv -> Relu -> conv

The views would ask for row-major memory on both sides and keep activations and residuals out of
the convolutions.
"""

import dataclasses

from edgecomp.lower.uses import drop_unread
from edgecomp.plan.elementwise import Elementwise, LookupTable, QuantizedAdd, QuantizedMultiply
from edgecomp.plan.movement import Reinterpret
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.quantization import Dequantize, Quantize
from edgecomp.plan.values import Value

_POINTWISE = (
    Dequantize,
    Elementwise,
    LookupTable,
    Quantize,
    QuantizedAdd,
    QuantizedMultiply,
)


def lift_sequences(program: Program) -> None:
    """Lift in program order, then drop views of views that nobody reads."""
    images: dict[Value, Value] = {}
    lifted: list[Operation] = []
    for operation in program.operations:
        lifted += _lift(operation, images)
        if isinstance(operation.kind, Reinterpret):
            _note_view(operation, images)
    program.operations = lifted
    drop_unread(program, Reinterpret)


def _note_view(operation: Operation, images: dict[Value, Value]) -> None:
    """Remember an image behind a sequence, and read it where the sequence becomes one again."""
    (x,), y = operation.inputs, operation.output
    if _is_image_of(x, y):
        images[y] = x


def _lift(operation: Operation, images: dict[Value, Value]) -> list[Operation]:
    """The operation, on images where its input is the view of one."""
    operation.inputs = [_through(value, operation, images) for value in operation.inputs]
    if isinstance(operation.kind, Reinterpret):
        (x,), y = operation.inputs, operation.output
        if x in images and _is_image_of(y, x):
            # A view of a view: whoever reads it reads the image.
            images[y] = images[x]
        return [operation]
    output = operation.output if len(operation.outputs) == 1 else None
    if output is None or not isinstance(operation.kind, _POINTWISE) or len(output.shape) != 3:
        return [operation]
    if not any(value in images for value in operation.inputs):
        return [operation]
    inputs = [_as_image(value, images) for value in operation.inputs]
    if any(value is None for value in inputs):
        return [operation]
    n, c, w = output.shape
    image = dataclasses.replace(output, name=f"{output.name}.image", shape=(n, c, 1, w))
    images[output] = image
    operation.inputs = [value for value in inputs if value is not None]
    operation.outputs = [image]
    view = Operation(Reinterpret(), [image], [output], operation.nodes[:1], operation.source)
    return [operation, view]


def _through(value: Value, operation: Operation, images: dict[Value, Value]) -> Value:
    """The image itself instead of an image that is a view of its view."""
    if isinstance(operation.kind, Reinterpret) or len(value.shape) != 4:
        return value
    return images.get(value, value)


def _as_image(value: Value, images: dict[Value, Value]) -> Value | None:
    """An operand with a dimension before the last; None where that would cost a copy."""
    if value in images:
        return images[value]
    if value.constant is None:
        return None
    shape = value.shape
    if len(shape) < 2:
        return value
    wide = (*shape[:-1], 1, shape[-1])
    return dataclasses.replace(value, shape=wide, constant=value.constant.reshape(wide))


def _is_image_of(image: Value, sequence: Value) -> bool:
    """Whether a value is a sequence with a height of 1."""
    if len(image.shape) != 4 or len(sequence.shape) != 3 or image.constant is not None:
        return False
    n, c, w = sequence.shape
    return image.shape == (n, c, 1, w)
