"""Products with packed weights on every target, against float64."""

import numpy as np
import pytest
from helpers.kernels import run_calls
from helpers.packed import expected, product_of
from helpers.targets import ALL

from edgecomp.plan.finish import Activation
from edgecomp.schedules.cpu import packed_product

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
    product = product_of(*extents, same_zero=same_zero, activation=Activation("relu"))
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
    product = product_of(2, 70, 33, bits, 32, same_zero=bits == 1)
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

    product = product_of(1, 64, 8, 4, 32, same_zero=True)
    product.kind = dataclasses.replace(product.kind, **change)
    assert reason in packed_product.match(product, ALL[0])
