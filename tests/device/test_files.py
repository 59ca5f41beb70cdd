"""Every file in targets/: TVM takes it, its figures have sources, its names are its own."""

import collections
import dataclasses
import pathlib
import re

import pytest

from edgecomp.device.load import HOST, list_targets, load_target
from edgecomp.errors import Code, EdgecompError

TARGETS = list_targets()
NAMES = [target.name for target in TARGETS]


def _name(target):
    return target.name


FACTS = ("name", "isa", "soc", "api")  # text: says itself what it is


def test_the_promised_targets_are_there():
    promised = {
        "x86-64-v3",
        "raspberry-pi-3",
        "raspberry-pi-4",
        "raspberry-pi-5",
        "android-arm64",
        "armv7-linux",
        "generic-opencl",
        "adreno-6xx",
        "adreno-7xx",
        "mali-g7x",
        "cuda-sm90",
        "jetson-orin",
        "jetson-xavier",
    }
    assert promised <= set(NAMES)


def test_no_name_is_used_twice():
    names = [n for t in TARGETS for n in (t.name, *t.aliases)]
    assert [n for n, count in collections.Counter(names).items() if count > 1] == []
    assert HOST not in names


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_every_figure_has_a_source(target):
    # The processor beside a GPU is another target's.
    for group in ("gpu",) if target.gpu else ("core", "board"):
        record = getattr(target, group)
        for field in dataclasses.fields(record):
            value = getattr(record, field.name)
            if field.name in FACTS or value in (None, "") or value == field.default:
                continue
            assert f"{group}.{field.name}" in target.sources


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_a_share_of_a_cache_is_what_its_source_says(target):
    if "board.l2_shared_bytes over board.cores" in target.sources["core.l2_bytes"]:
        assert target.core.l2_bytes * target.board.cores == target.board.l2_shared_bytes


@pytest.mark.parametrize("name", [*NAMES, HOST])
def test_llvm_knows_the_processor_and_its_features(name, capfd):
    tvm = pytest.importorskip("tvm")
    facts = load_target(name).tvm
    # TVM itself silently takes a generic processor instead of one it does not know.
    assert tvm.get_global_func("target.llvm_is_valid_cpu")(facts["mcpu"], facts["mtriple"])
    target = tvm.target.Target(facts)
    assert target.host is None
    with target:
        for attribute in facts.get("mattr", ()):
            assert tvm.get_global_func("target.target_has_feature")(attribute[1:], target)
    assert "not a recognized feature" not in capfd.readouterr().err


@pytest.mark.parametrize("target", [t for t in TARGETS if t.core.isa == "aarch64"], ids=_name)
def test_a_dotprod_target_is_one_for_tvm_too(target):
    tvm = pytest.importorskip("tvm")
    assert tvm.target.Target(target.tvm).features.has_dotprod == target.has("dotprod")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_an_alias_and_a_path_give_the_same(name, monkeypatch):
    target = load_target(name)
    for alias in target.aliases:
        assert load_target(alias) == target
    assert load_target(name.upper().replace("-", "_")) == target
    folder = pathlib.Path(__file__).parents[2] / "targets"
    assert load_target(str(folder / f"{name}.toml")) == target


@pytest.mark.parametrize(
    ("name", "nearest"), [("rasberry-pi-4", "raspberry-pi-4"), ("hots", "host")]
)
def test_an_unknown_name_gets_the_nearest(name, nearest):
    with pytest.raises(EdgecompError) as info:
        load_target(name)
    assert info.value.code is Code.TARGET_UNKNOWN
    assert f"'{nearest}'" in info.value.hint


def test_an_unknown_path():
    with pytest.raises(EdgecompError) as info:
        load_target("no/such.toml")
    assert info.value.code is Code.FILE_MISSING


def test_512_bit_vectors_stay_512_bits():
    """LLVM prefers 256 bits on some processors; the x86-64-v4 level must not split ours."""
    pytest.importorskip("tvm")
    from edgecomp.device.host import detect_host
    from edgecomp.lower.codegen import assembly
    from edgecomp.schedules.builder import KernelBuilder, load, ramp

    builder = KernelBuilder()
    x = builder.pointer("x", "float32", 4096)
    y = builder.pointer("y", "float32", 4096)
    with builder.loop("i", builder.lo, builder.hi) as i:
        value = load(x, i * 16, 16)
        builder.store(y, ramp(i * 16, 16), value * value + value)
    data = pathlib.Path(__file__).parent / "cpuinfo"
    target = detect_host(data / "sapphire-rapids.txt", pathlib.Path("/nowhere"), "x86_64")
    assert target.tvm["mcpu"] == "x86-64-v4"
    text = assembly(builder.finish("probe"), target)
    assert re.search(r"vfmadd\w+\s.*%zmm", text)
    assert "%ymm" not in text
