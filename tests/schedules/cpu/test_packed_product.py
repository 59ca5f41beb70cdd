"""Products with packed weights on every target, against float64."""

import numpy as np
import pytest
from helpers.kernels import run_calls
from helpers.targets import ALL

from edgecomp.plan.finish import Activation
from edgecomp.plan.operations import Operation, PackedMatrixMultiply
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu import packed_product


def constant(name, array):
    return Value(name, array.shape, array.dtype.name, constant=array)


def operation(rows, depth, columns, bits, block, *, same_zero, activation=None):
    rng = np.random.default_rng(0)
    blocks = -(-depth // block)
    zeros = rng.integers(0, 2**bits, (blocks, columns)).astype(np.uint8)
    kind = PackedMatrixMultiply(bits=bits, block=block, activation=activation)
    inputs = [
        Value("x", (rows, depth), "float32"),
        constant("numbers", rng.integers(0, 2**bits, (depth, columns)).astype(np.uint8)),
        constant("scales", rng.uniform(0.01, 0.02, (blocks, columns)).astype(np.float32)),
        constant(
            "zeros",
            np.full_like(zeros, 2**bits // 2 if bits > 1 else 0) if same_zero else zeros,
        ),
        constant("bias", rng.standard_normal(columns).astype(np.float32)),
    ]
    outputs = [Value("y", (rows, columns), "float32"), Value("s", (rows, blocks), "float32")]
    return Operation(kind, inputs, outputs, ("product",))


def expected(operation, x):
    numbers, scales, zeros, bias = (
        v.constant.astype(np.float64) for v in operation.inputs[1:]
    )
    block = np.arange(len(numbers)) // operation.kind.block
    steps = 2 * numbers - 1 if operation.kind.bits == 1 else numbers - zeros[block]
    y = x.astype(np.float64) @ (steps * scales[block]) + bias
    return np.maximum(y, 0) if operation.kind.activation else y


CASES = [
    (1, 64, 37, 4, 32, True),
    (1, 100, 130, 4, 32, False),
    (3, 48, 20, 2, 16, False),
    (2, 70, 9, 8, 70, True),
    (13, 64, 40, 4, 16, False),
    (9, 33, 50, 8, 32, True),
    (5, 64, 33, 2, 64, True),
    (1, 200, 37, 3, 64, True),
    (7, 90, 20, 4, 12, False),
    (1, 200, 37, 1, 200, True),
    (2, 70, 9, 1, 48, True),
    (11, 100, 130, 1, 32, True),
]
#: Of these, on emulators.
FEW = [*CASES[1:5], (3, 100, 21, 3, 32, False), *CASES[-3:]]


@pytest.mark.parametrize(
    ("target", "case"),
    # An emulator takes its time: every form once there.
    [(t, case) for t in ALL for case in (CASES if t.emulator is None else FEW)],
    ids=lambda each: getattr(each, "name", None) or str(each),
)
def test_product(target, case):
    *extents, same_zero = case
    product = operation(*extents, same_zero=same_zero, activation=Activation("relu"))
    assert packed_product.match(product, target) == ""
    x = np.random.default_rng(1).standard_normal(product.inputs[0].shape).astype(np.float32)
    calls = packed_product.emit(product, target)
    found = run_calls(calls, target, {product.inputs[0]: x.reshape(-1)}, slices=2)
    want = expected(product, x)
    got = found[product.outputs[0]].reshape(want.shape)
    np.testing.assert_allclose(got, want, atol=2e-5 * np.abs(want).max())


@pytest.mark.parametrize("target", ALL, ids=lambda target: target.name)
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_unpacking_is_exact_on_every_target(target, bits):
    """Small integers and scales that are powers of two leave no rounding in any order of sums."""
    product = operation(2, 70, 33, bits, 32, same_zero=bits == 1)
    _, _, scales, _, bias = product.inputs
    scales.constant[...] = 0.25 * 2.0 ** (np.arange(scales.constant.size) % 3).reshape(
        scales.shape
    )
    bias.constant[...] = np.rint(8 * bias.constant)
    x = np.random.default_rng(1).integers(-8, 9, (2, 70)).astype(np.float32)
    calls = packed_product.emit(product, target)
    found = run_calls(calls, target, {product.inputs[0]: x.reshape(-1)})
    want = expected(product, x)
    np.testing.assert_array_equal(found[product.outputs[0]].reshape(want.shape), want)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"activation": Activation("nothing")}, "activation nothing"),
    ],
)
def test_refusals(change, reason):
    import dataclasses

    product = operation(1, 64, 8, 4, 32, same_zero=True)
    product.kind = dataclasses.replace(product.kind, **change)
    assert reason in packed_product.match(product, ALL[0])
