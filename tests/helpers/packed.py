"""Products with weights of few bits, and what they compute."""

import numpy as np

from edgecomp.plan.operations import Operation
from edgecomp.plan.products import PackedMatrixMultiply
from edgecomp.plan.values import Value


def _constant(name, array):
    return Value(name, array.shape, array.dtype.name, constant=array)


def product_of(rows, depth, columns, bits, block, *, same_zero, activation=None):
    """An operation with random weights; the rows may be dynamic."""
    rng = np.random.default_rng(0)
    blocks = -(-depth // block)
    zeros = rng.integers(0, 2**bits, (blocks, columns)).astype(np.uint8)
    kind = PackedMatrixMultiply(bits=bits, block=block, activation=activation)
    inputs = [
        Value("x", (rows, depth), "float32"),
        _constant("numbers", rng.integers(0, 2**bits, (depth, columns)).astype(np.uint8)),
        _constant("scales", rng.uniform(0.01, 0.02, (blocks, columns)).astype(np.float32)),
        _constant(
            "zeros",
            np.full_like(zeros, 2**bits // 2 if bits > 1 else 0) if same_zero else zeros,
        ),
        _constant("bias", rng.standard_normal(columns).astype(np.float32)),
    ]
    scratch = Value("scratch", (kind.scratch_words(depth),), "float32")
    outputs = [Value("y", (rows, columns), "float32"), scratch]
    return Operation(kind, inputs, outputs, ("product",))


def expected(operation, x):
    """What it computes, in float64."""
    numbers, scales, zeros, bias = (
        v.constant.astype(np.float64) for v in operation.inputs[1:]
    )
    block = np.arange(len(numbers)) // operation.kind.block
    steps = 2 * numbers - 1 if operation.kind.bits == 1 else numbers - zeros[block]
    y = x.astype(np.float64) @ (steps * scales[block]) + bias
    return np.maximum(y, 0) if operation.kind.activation else y
