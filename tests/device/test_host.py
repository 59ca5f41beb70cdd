"""The host's facts, from texts of real machines."""

import dataclasses
import pathlib

import pytest

from edgecomp.device.host import detect_host, why_not_native
from edgecomp.device.load import load_target
from edgecomp.errors import Code, EdgecompError

TEXTS = pathlib.Path(__file__).parent / "cpuinfo"
NOWHERE = pathlib.Path("/nowhere")


def host(name, isa):
    return detect_host(TEXTS / f"{name}.txt", NOWHERE, isa)


@pytest.mark.parametrize(
    ("name", "isa", "mcpu", "mattr", "features", "bits", "registers"),
    [
        (
            "sapphire-rapids", "x86_64", "x86-64-v4",
            ["+avx512vbmi", "+avx512vnni", "+avx512vpopcntdq", "+avxvnni"],
            {
                "avx2", "fma", "avx512", "avx512vbmi", "avx512vnni", "avx512vpopcntdq",
                "avxvnni",
            }, 512, 32,
        ),
        ("zen3", "x86_64", "x86-64-v3", [], {"avx2", "fma"}, 256, 16),
        (
            "zen4", "x86_64", "x86-64-v4",
            ["+avx512vbmi", "+avx512vnni", "+avx512vpopcntdq"],
            {"avx2", "fma", "avx512", "avx512vbmi", "avx512vnni", "avx512vpopcntdq"}, 512, 32,
        ),
        (
            "alder-lake", "x86_64", "x86-64-v3", ["+avxvnni"],
            {"avx2", "fma", "avxvnni"}, 256, 16,
        ),
        ("core2", "x86_64", "x86-64", [], set(), 128, 16),
        ("raspberry-pi-4", "aarch64", "generic", ["+neon"], {"neon"}, 128, 32),
        (
            "big-little", "aarch64", "generic", ["+neon", "+dotprod", "+fullfp16"],
            {"neon", "dotprod", "fp16"}, 128, 32,
        ),
        ("mixed-little", "aarch64", "cortex-a53", ["+neon"], {"neon"}, 128, 32),
        (
            "neoverse-v1", "aarch64", "generic", ["+neon", "+dotprod", "+i8mm", "+fullfp16"],
            {"neon", "dotprod", "i8mm", "fp16"}, 128, 32,
        ),
        (
            "raspberry-pi-2", "armv7", "cortex-a15", ["+neon", "+vfp4"], {"neon", "vfp4"}, 128, 16,
        ),
        ("cortex-a8", "armv7", "generic", [], set(), 128, 16),
    ],
)  # fmt: skip
def test_features(name, isa, mcpu, mattr, features, bits, registers):
    target = host(name, isa)
    assert target.tvm["mcpu"] == mcpu
    assert target.tvm["mattr"] == mattr
    assert target.core.features == features
    assert target.core.vector_bits == bits
    assert target.core.vector_registers == registers
    assert target.activation_dtype == ("uint8" if isa == "x86_64" else "int8")


def changed(name, replaced, folder):
    """The host that a machine with other facts is."""
    text = (TEXTS / f"{name}.txt").read_text()
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new, 1)
    cpuinfo = folder / "cpuinfo"
    cpuinfo.write_text(text)
    return detect_host(cpuinfo, NOWHERE, "x86_64")


@pytest.mark.parametrize(
    ("name", "replaced", "turns"),
    [
        ("zen4", {}, 2),
        ("zen4", {"cpu family\t: 25": "cpu family\t: 26"}, 1),
        ("zen4", {"AuthenticAMD": "GenuineIntel", "\t: 25": "\t: 6", "\t: 17": "\t: 143"}, 1),
        ("zen4", {"AuthenticAMD": "GenuineIntel", "\t: 25": "\t: 6", "\t: 17": "\t: 126"}, 2),
        ("zen4", {" avx512vl": ""}, 1),
        ("zen3", {}, 1),
        ("sapphire-rapids", {}, 1),
    ],
)
def test_cores_that_work_vectors_off_in_halves(name, replaced, turns, tmp_path):
    assert changed(name, replaced, tmp_path).core.turns == turns


@pytest.mark.parametrize(
    ("name", "replaced", "apart"),
    [
        ("zen4", {}, True),
        ("zen4", {"cpu family\t: 25": "cpu family\t: 23"}, True),
        ("zen4", {"cpu family\t: 25": "cpu family\t: 21"}, False),
        ("zen4", {"AuthenticAMD": "GenuineIntel"}, False),
        ("sapphire-rapids", {}, False),
    ],
)
def test_cores_that_add_beside_they_multiply(name, replaced, apart, tmp_path):
    assert changed(name, replaced, tmp_path).core.adders_apart is apart


@pytest.mark.parametrize(
    ("name", "isa", "in_order"),
    [
        ("raspberry-pi-4", "aarch64", False),
        ("big-little", "aarch64", False),  # the large cores do the work
        ("mixed-little", "aarch64", True),
        ("raspberry-pi-2", "armv7", True),
    ],
)
def test_order_of_issue(name, isa, in_order):
    assert host(name, isa).core.in_order is in_order


def test_the_name_of_the_processor_does_not_reach_code_generation():
    a, b = host("zen3", "x86_64"), host("alder-lake", "x86_64")
    assert a.core.name != b.core.name
    assert {**a.tvm, "mattr": []} == {**b.tvm, "mattr": []}
    assert "EPYC" not in str(a.tvm)


def cpu(folder, number, caches, siblings):
    for index, (level, kind, size, shared) in enumerate(caches):
        cache = folder / f"cpu{number}" / "cache" / f"index{index}"
        cache.mkdir(parents=True)
        for name, text in (
            ("level", level),
            ("type", kind),
            ("size", size),
            ("shared_cpu_list", shared),
        ):
            (cache / name).write_text(f"{text}\n")
    topology = folder / f"cpu{number}" / "topology"
    topology.mkdir(parents=True)
    (topology / "core_cpus_list").write_text(f"{siblings}\n")


def test_two_threads_of_a_core_do_not_halve_its_cache(tmp_path):
    for number, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        caches = [
            (1, "Data", "48K", siblings),
            (1, "Instruction", "32K", siblings),
            (2, "Unified", "2M", siblings),
            (3, "Unified", "30M", "0-3"),
        ]
        cpu(tmp_path, number, caches, siblings)
    target = detect_host(TEXTS / "zen3.txt", tmp_path, "x86_64")
    assert target.core.l1_data_bytes == 48 * 1024
    assert target.core.l2_bytes == 2 * 1024 * 1024
    assert target.board.l3_shared_bytes == 30 * 1024 * 1024


def test_of_a_shared_cache_a_core_has_its_part_and_the_smallest_counts(tmp_path):
    for number in range(4):
        l1 = "64K" if number > 1 else "32K"
        caches = [(1, "Data", l1, number), (2, "Unified", "512K", "0-3")]
        cpu(tmp_path, number, caches, number)
    target = detect_host(TEXTS / "big-little.txt", tmp_path, "aarch64")
    assert target.core.l1_data_bytes == 32 * 1024
    assert target.core.l2_bytes == 128 * 1024


def test_an_unknown_cache_is_called_an_assumption():
    target = host("zen3", "x86_64")
    assert target.core.l1_data_bytes == 32 * 1024
    assert "assumed" in target.sources["core.l1_data_bytes"]


def test_this_machine_is_detected():
    target = load_target("host")
    assert target.threads >= 1
    assert target.core.vector_bits in (128, 256, 512)
    assert target.toolchain.triple == ""


def test_another_system_is_refused(tmp_path):
    for isa, cpuinfo in (("riscv64", TEXTS / "zen3.txt"), ("x86_64", tmp_path / "none")):
        with pytest.raises(EdgecompError) as info:
            detect_host(cpuinfo, NOWHERE, isa)
        assert info.value.code is Code.TARGET_UNKNOWN


def test_why_not_native():
    zen3, pi4 = host("zen3", "x86_64"), host("raspberry-pi-4", "aarch64")
    assert why_not_native(load_target("x86-64-v3"), zen3) == ""
    assert why_not_native(load_target("raspberry-pi-3"), pi4) == ""
    assert "lacks dotprod, fp16" in why_not_native(load_target("raspberry-pi-5"), pi4)
    assert "is x86_64" in why_not_native(load_target("raspberry-pi-5"), zen3)
    phone = dataclasses.replace(host("big-little", "aarch64"))
    assert "Android" in why_not_native(load_target("android-arm64"), phone)
