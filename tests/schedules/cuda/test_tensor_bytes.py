import numpy as np
import pytest

from edgecomp.plan.values import Quantization
from edgecomp.schedules.cuda.tensor_bytes import Bytes, as_multiplied, of_bytes
from edgecomp.schedules.cuda.tensor_tile import INSTRUCTIONS


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_numbers_less_their_zero_point_stay(dtype):
    limits = np.iinfo(dtype)
    stored = np.arange(limits.min, limits.max + 1).astype(dtype)
    free = []
    for zero in range(limits.min, limits.max + 1):
        made = Bytes.of(dtype, Quantization(0.5, zero))
        words = stored.view(np.int32) ^ np.int32(made.flip)
        given = words.view("uint8" if made.is_unsigned else "int8").astype(int)
        np.testing.assert_array_equal(given - made.zero, stored.astype(int) - zero)
        if made.zero == 0:
            free.append(zero)
    assert free == ([0, 128] if dtype == "uint8" else [-128, 0])


def test_each_pair_of_types_has_an_instruction():
    pairs = [(a, b) for a in (False, True) for b in (False, True)]
    made = [
        of_bytes(INSTRUCTIONS["uint8"][0], *(Bytes(sign, 0, 0) for sign in pair)).function
        for pair in pairs
    ]
    assert made == ["mma_s8", "mma_s8_u8", "mma_u8", "mma_u8_u8"]


@pytest.mark.parametrize("zeros", [(128, 128), (0, 0), (0, 128), (128, 0), (7, 0)])
def test_where_no_instruction_mixes_types_the_second_has_the_firsts(zeros):
    stored = np.arange(256).astype(np.uint8)
    wmma = INSTRUCTIONS["uint8"][1]
    both = as_multiplied(wmma, *(Bytes.of("uint8", Quantization(0.5, zero)) for zero in zeros))
    kind = "s8" if zeros[0] else "u8"
    assert of_bytes(wmma, *both).function == f"wmma_{kind}"
    for made, zero in zip(both, zeros, strict=True):
        given = (stored.view(np.int32) ^ np.int32(made.flip)).view(
            "uint8" if made.is_unsigned else "int8"
        )
        np.testing.assert_array_equal(given.astype(int) - made.zero, stored.astype(int) - zero)
