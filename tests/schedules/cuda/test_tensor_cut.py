"""How products are cut for tensor cores; that kernels read what is packed is tested with their sums."""

import numpy as np
import pytest

from edgecomp.device.load import load_target
from edgecomp.schedules.cpu.product import Product, RowDimension, RunDimension, collapse_depth
from edgecomp.schedules.cuda.tensor_cut import TensorCut
from edgecomp.schedules.cuda.tensor_tile import instruction_for

GPUS = {name: load_target(name).gpu for name in ("cuda-sm90", "jetson-xavier")}


def cut_of(dtype, gpu, *, rows=64, windows=1, run=64, columns=24, groups=1):
    depth = (RunDimension(windows, 2 * run), RunDimension(run, 1))
    product = Product(
        rows=(RowDimension(rows, 4 * run, groups * columns),),
        depth=depth,
        columns=columns,
        groups=groups,
        x_group_stride=run,
        x_elements=rows * 4 * run,
        output_elements=rows * groups * columns,
    )
    return TensorCut.of(product, collapse_depth(depth), instruction_for(dtype, gpu), gpu)


@pytest.mark.parametrize(
    ("dtype", "name", "more"),
    [
        ("float16", "cuda-sm90", {}),
        ("float16", "cuda-sm90", {"windows": 3, "run": 20, "columns": 11}),
        ("float16", "cuda-sm90", {"rows": 9, "run": 2000, "groups": 2}),
        ("float16", "jetson-xavier", {"run": 36, "columns": 9, "groups": 3}),
        ("int8", "cuda-sm90", {"run": 100}),
        ("int8", "jetson-xavier", {"run": 100, "windows": 2, "columns": 19}),
        ("int8", "jetson-xavier", {"rows": 9, "run": 2008, "groups": 2}),
        ("float32", "cuda-sm90", {"windows": 2, "run": 9}),
    ],
)
def test_every_weight_once_and_zeros(dtype, name, more):
    cut = cut_of(dtype, GPUS[name], **more)
    count = cut.groups * cut.columns * cut.windows * cut.run
    numbers = np.arange(1, count + 1) % 100 + 1  # exact in every type
    weight = numbers.reshape(cut.groups * cut.columns, -1).astype(dtype)
    packed = cut.pack(weight)
    assert packed.shape == (cut.weight_words,)
    stored = packed.view(dtype)
    np.testing.assert_array_equal(np.sort(stored[stored != 0]), np.sort(numbers))
    assert stored.size >= cut.groups * cut.padded_columns * cut.steps * cut.step_elements


@pytest.mark.parametrize("run", [64, 40, 36])
def test_weights_lie_as_an_instruction_reads_them(run):
    """Of wmma: 16 columns of 16 elements of K, those of x in the same order."""
    cut = cut_of("int8", GPUS["jetson-xavier"], rows=16, run=run, columns=16)
    rng = np.random.default_rng(2)
    weight = rng.integers(-128, 128, (16, run)).astype(np.int8)
    stored = cut.pack(weight).view(np.int8)
    order = cut.order
    tiles = stored.reshape(-1, order.parts, 16, 16)[: cut.steps]
    for step, part, position in np.ndindex(cut.steps, order.parts, 16):
        place, word, element = position // 8, position % 8 // 4, position % 4
        k = step * order.step_elements + place * order.own + element
        k += order.offsets[2 * part + word]
        want = weight[:, k] if k < run else np.zeros(16)
        np.testing.assert_array_equal(tiles[step, part, :, position], want)


def test_steps_of_warps_that_share_a_tile():
    cut = cut_of("float16", GPUS["cuda-sm90"], rows=9, windows=3, run=500)
    assert cut.tile.slices > 1
    assert cut.steps == 3 * cut.run_steps
    assert cut.run_steps == -(-500 // cut.step_elements)
    assert 0 <= cut.all_steps - cut.steps < cut.tile.slices
