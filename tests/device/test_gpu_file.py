"""Files of targets with a GPU: what is refused, and what the target is made of."""

import pathlib

import pytest

from edgecomp.device import load
from edgecomp.device.load import list_targets, load_target
from edgecomp.errors import Code, EdgecompError

FILE = pathlib.Path(__file__).parents[2] / "targets" / "generic-opencl.toml"


def written(tmp_path, old, new):
    text = FILE.read_text()
    assert old in text
    path = tmp_path / "gpu.toml"
    path.write_text(text.replace(old, new))
    return str(path)


def test_beside_its_processor(tmp_path):
    target = load_target(written(tmp_path, 'cpu = "host"', 'cpu = "raspberry-pi-5"'))
    processor = load_target("raspberry-pi-5")
    assert target.core == processor.core
    assert target.toolchain == processor.toolchain
    assert target.name == "generic-opencl"
    assert target.gpu.api == "opencl"
    assert processor.gpu is None
    assert target.sources["core.features"] == processor.sources["core.features"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('api = "opencl"', 'api = "vulkan"', "gpu.api: unknown 'vulkan'"),
        ('api = "opencl"', 'api = "cuda"', "gpu.images: expected for CUDA and only there"),
        (
            "features = []",
            'images = ["sm_87"]',
            "gpu.images: expected for CUDA and only there",
        ),
        (
            'api = "opencl"',
            'api = "cuda"\nimages = ["sm_8"]',
            "gpu.images: expected sm_NN or compute_NN, found 'sm_8'",
        ),
        ("features = []", 'features = ["fp17"]', "gpu.features: unknown 'fp17'"),
        ("registers = 64", "registers = 0", "gpu.registers: expected a positive number"),
        ("registers = 64", "", "gpu.registers: missing"),
        ("registers = 64", "registers = 64\nlanes = 2", "gpu.lanes: unknown key"),
        ('name = "generic-opencl"', 'name = "Generic"', "name: 'Generic'"),
        ('"gpu.version" =', '"gpu.other" =', "the file has no such key"),
        ('cpu = "host"', 'cpu = "opencl"', "'generic-opencl' has a GPU of its own"),
        ("group_items = 64", "group_items = 129", "gpu.group_items: more than"),
        (
            "[gpu.speed]",
            "[gpu.textures]\nwidth = 16384\n[gpu.speed]",
            "gpu.textures.height: missing",
        ),
        (
            "[gpu.speed]",
            "[gpu.textures]\nwidth = 0\nheight = 8\n[gpu.speed]",
            "gpu.textures: width: expected a positive number",
        ),
        (
            "[gpu.speed]",
            "[gpu.textures]\nwidth = 8\nheight = 8\ndepth = 8\n[gpu.speed]",
            "gpu.textures.depth: unknown key",
        ),
        (
            "[gpu.speed]",
            "[gpu.textures]\nwidth = 8\nheight = 8\nrow_texels = 48\n[gpu.speed]",
            "gpu.textures: row_texels: expected a power of two, found 48",
        ),
    ],
)
def test_refusals(tmp_path, old, new, problem):
    with pytest.raises(EdgecompError) as info:
        load_target(written(tmp_path, old, new))
    assert info.value.code is Code.TARGET_INVALID
    assert problem in info.value.cause


def test_images_are_opencls(tmp_path):
    path = tmp_path / "gpu.toml"
    text = (FILE.parent / "apple-gpu.toml").read_text()
    path.write_text(
        text.replace("[sources]", "[gpu.textures]\nwidth = 8\nheight = 8\n[sources]")
    )
    with pytest.raises(EdgecompError) as info:
        load_target(str(path))
    assert "gpu.textures: expected for OpenCL only, api is metal" in info.value.cause


def test_a_file_that_is_its_own_processor(tmp_path):
    path = tmp_path / "gpu.toml"
    with pytest.raises(EdgecompError, match="has a GPU of its own") as info:
        load_target(written(tmp_path, 'cpu = "host"', f'cpu = "{path}"'))
    assert info.value.code is Code.TARGET_INVALID


def test_on_a_machine_that_is_no_target(monkeypatch):
    def detect():
        raise EdgecompError(Code.TARGET_UNKNOWN, "the target 'host' is not known")

    others = [target.name for target in list_targets() if target.cpu != load.HOST]
    monkeypatch.setattr(load, "detect_host", detect)
    assert [target.name for target in list_targets()] == others


def test_an_unknown_processor(tmp_path):
    with pytest.raises(EdgecompError) as info:
        load_target(written(tmp_path, 'cpu = "host"', 'cpu = "nothing"'))
    assert info.value.code is Code.TARGET_UNKNOWN
