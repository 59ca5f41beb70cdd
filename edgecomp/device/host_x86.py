"""Features of an x86-64 processor from ``/proc/cpuinfo``.

The kernel lists a feature only when it saves the registers that go with it, so that AVX-512 in
the list can be used.
"""

from edgecomp.device.host_facts import HostFacts, common_words, read_blocks

#: Words of ``/proc/cpuinfo`` that each level of the AMD64 ABI adds (System V ABI, AMD64
#: supplement, section 3.1.1; "abm" stands for lzcnt).
_LEVELS = (
    ("x86-64-v2", {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}),
    ("x86-64-v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    ("x86-64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
)
#: What kernels may use at each level.
_FEATURES = {
    "x86-64": frozenset[str](),
    "x86-64-v2": frozenset[str](),
    "x86-64-v3": frozenset({"avx2", "fma"}),
    "x86-64-v4": frozenset({"avx2", "fma", "avx512"}),
}
#: Word of /proc/cpuinfo -> least level, feature, LLVM attribute.
_EXTENSIONS = (
    ("avx512vbmi", "x86-64-v4", "avx512vbmi", "+avx512vbmi"),
    ("avx512_vnni", "x86-64-v4", "avx512vnni", "+avx512vnni"),
    ("avx512_vpopcntdq", "x86-64-v4", "avx512vpopcntdq", "+avx512vpopcntdq"),
    ("avx_vnni", "x86-64-v3", "avxvnni", "+avxvnni"),
)
#: (vendor, family, models; none for all) of cores with AVX-512 that work registers of 512 bits off
#: as two halves of 256, or on two units of 256 joined: one multiply-add a cycle. Zen 4: measured on
#: an EPYC (2026-11-22: products in vectors of 256 and of 512 bits take the same time), and A. J. Yee,
#: numberworld.org/blogs/2024_8_7_zen5_avx512_teardown. Intel's client cores, which have no second
#: such unit (Cannon, Ice, Tiger and Rocket Lake), by their models; none of them was measured.
_HALVES = (
    ("AuthenticAMD", 25, frozenset[int]()),
    ("GenuineIntel", 6, frozenset({102, 125, 126, 140, 141, 167})),
)
#: Families of AMD cores (Zen, Zen 2; Zen 3, Zen 4; Zen 5) with two units that multiply and add and two
#: that add: AMD's software optimization guides for these families, "Floating-Point Unit".
_ADDERS_APART = frozenset({"23", "25", "26"})
_VECTOR_BITS = {"x86-64": 128, "x86-64-v2": 128, "x86-64-v3": 256, "x86-64-v4": 512}


def read(cpuinfo: str) -> HostFacts:
    """Return the features that all processors share.

    Args:
        cpuinfo: contents of ``/proc/cpuinfo``.
    """
    blocks = read_blocks(cpuinfo)
    words = common_words(blocks, "flags")
    level = _level(words)
    extensions = [e for e in _EXTENSIONS if e[0] in words and e[1] <= level]
    return HostFacts(
        processor=blocks[0].get("model name", "") if blocks else "",
        tvm={
            "kind": "llvm",
            "mtriple": "x86_64-linux-gnu",
            "mcpu": level,
            "mattr": [attribute for *_, attribute in extensions],
            "opt-level": 3,
        },
        features=_FEATURES[level] | {feature for _, _, feature, _ in extensions},
        vector_bits=_VECTOR_BITS[level],
        vector_registers=32 if level == "x86-64-v4" else 16,
        unit_bits=256 if level == "x86-64-v4" and any(map(_in_halves, blocks)) else None,
        adders_apart=bool(blocks) and all(map(_has_adders, blocks)),
    )


def _has_adders(block: dict[str, str]) -> bool:
    """Whether a processor adds beside it multiplies."""
    is_amd = block.get("vendor_id") == "AuthenticAMD"
    return is_amd and block.get("cpu family") in _ADDERS_APART


def _in_halves(block: dict[str, str]) -> bool:
    """Whether a processor works the widest vectors off in halves."""
    vendor, family, model = (
        block.get(key, "") for key in ("vendor_id", "cpu family", "model")
    )
    return any(
        vendor == known and family == str(number) and (not models or model in map(str, models))
        for known, number, models in _HALVES
    )


def _level(words: frozenset[str]) -> str:
    level = "x86-64"
    for name, needed in _LEVELS:
        if not needed <= words:
            break
        level = name
    return level
