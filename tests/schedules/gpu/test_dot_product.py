"""Products of words of four 8-bit integers as GPUs compute them, bit by bit."""

import dataclasses

import numpy as np
import pytest
from helpers.dense import Conv, halo_untouched, make_integer, run
from helpers.gpu import TARGETS

from edgecomp.plan.values import Halo
from edgecomp.schedules.gpu import dot_product

#: Interfaces whose texts have the instruction.
DEVICES = {
    name: dataclasses.replace(
        TARGETS[name], gpu=dataclasses.replace(TARGETS[name].gpu, features={"int8_dot"})
    )
    for name in ("opencl", "cuda")
}


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "case",
    [
        # tails of K and of columns, overlapping last rows, a residual, halos, the extremes
        Conv(c=6, m=21, h=5, w=7, k=(3, 3), p=(1, 1, 1, 1), finish="add", extreme=True,
             y_halo=Halo(1, 2, 0, 1)),
        Conv(c=16, m=10, h=9, w=3, g=2, s=(2, 1), finish="requantize"),
    ],
    ids=str,
)  # fmt: skip
def test_product(case, device, dtype):
    target = dataclasses.replace(DEVICES[device], activation_dtype=dtype)
    operation, buffers, expected = make_integer(case, target, np.random.default_rng(3))
    assert dot_product.match(operation, target) == ""
    found, flat = run(dot_product, operation, buffers, target)
    assert (found == expected).all()
    assert halo_untouched(operation.output, flat)


def test_refusals():
    operation, _, _ = make_integer(Conv(c=3, m=8), DEVICES["opencl"], np.random.default_rng(3))
    assert "only 3" in dot_product.match(operation, DEVICES["opencl"])
    operation, _, _ = make_integer(Conv(c=8, m=8), DEVICES["opencl"], np.random.default_rng(3))
    assert "int8_dot" in dot_product.match(operation, TARGETS["opencl"])
