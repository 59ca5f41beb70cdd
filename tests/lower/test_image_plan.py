"""What a plan does for tensors that kernels read as images."""

import dataclasses

import numpy as np
import pytest
from helpers.dynamic import dynamic_plan
from helpers.graphs import Graph

from edgecomp.device.load import load_target
from edgecomp.lower.lower import lower
from edgecomp.plan.plan import Storage

TARGET = load_target("adreno-6xx")


def network(rng):
    """Images of several sizes, with channels in fours and not."""
    g = Graph()
    x = g.input("x", (1, 6, 15, 13))
    for outputs, inputs, size in (
        (24, 6, 3),
        (24, 24, 1),
        (10, 24, 3),
        (16, 10, 1),
        (8, 16, 3),
    ):
        weight = (rng.standard_normal((outputs, inputs, size, size)) * 0.1).astype(np.float32)
        x = g("Relu", g("Conv", x, weight, pads=[size // 2] * 4))
    return g.model(x)


def plan_of(model, target):
    return lower(model, target, name="network", cpu_plan=False).plan


def test_rows_of_images_have_memory_of_their_own(rng):
    plan = plan_of(network(rng), TARGET)
    textures = TARGET.gpu.textures
    seen = 0
    for number, call in enumerate(plan.calls):
        for image in call.launch.images if call.launch else ():
            tensor = plan.tensors[call.arguments[image.argument]]
            item = np.dtype(tensor.dtype).itemsize
            end = tensor.offset_bytes + image.elements * item
            if tensor.storage is Storage.WEIGHTS:
                assert image.elements * item == tensor.bytes
                continue
            seen += 1
            assert image.width == textures.row_texels
            assert tensor.offset_bytes % (textures.base_texels * 4 * item) == 0
            assert end <= plan.arena_bytes
            for other in plan.tensors:
                if other is tensor or other.storage is Storage.WEIGHTS:
                    continue
                if other.first_call <= number <= other.last_call:
                    after = other.offset_bytes >= end
                    assert after or other.offset_bytes + other.bytes <= tensor.offset_bytes
    assert seen == 3  # inputs of 24, 24 and 16 channels


@pytest.mark.parametrize("name", ["adreno-6xx", "adreno-7xx"])
def test_without_rows_over_buffers_the_arena_is_that_of_buffers(rng, name):
    target = load_target(name)
    plans = []
    for textures in (None, dataclasses.replace(target.gpu.textures, row_texels=None)):
        gpu = dataclasses.replace(target.gpu, textures=textures)
        plans.append(plan_of(network(rng), dataclasses.replace(target, gpu=gpu)))
    arenas = [[t for t in plan.tensors if t.storage is Storage.ARENA] for plan in plans]
    assert arenas[0] == arenas[1]
    assert plans[0].arena_bytes == plans[1].arena_bytes
    whole = plan_of(network(rng), target)
    # Each tensor begins at a multiple of 1024 bytes, and some end with a whole row.
    assert plans[0].arena_bytes <= whole.arena_bytes <= plans[0].arena_bytes + 3 * 2048


def test_rows_of_images_of_any_size_begin_in_their_memory(rng):
    """18 x 18 pixels, of which the bound term by term is 392."""
    g = Graph()
    x = g.input("x", (1, 3, "h", "w"))
    for outputs, inputs, size in ((16, 3, 3), (8, 16, 1)):
        weight = rng.standard_normal((outputs, inputs, size, size)).astype(np.float32)
        x = g("Relu", g("Conv", x, weight))
    plan = dynamic_plan(g.proto(x), ["x:1x3x[3..20]x[3..20]"], target=TARGET.name)
    seen = 0
    for call in plan.calls:
        for image in call.launch.images if call.launch else ():
            tensor = plan.tensors[call.arguments[image.argument]]
            item = np.dtype(tensor.dtype).itemsize
            assert image.width * 4 * (image.height - 1) * item < tensor.bytes
            seen += tensor.storage is Storage.ARENA
    assert seen == 1
