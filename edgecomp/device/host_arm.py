"""Features of an Arm processor from ``/proc/cpuinfo``."""

from edgecomp.device.host_facts import HostFacts, common_words, read_blocks

#: Word of ``/proc/cpuinfo`` (Linux, Documentation/arch/arm64/elf_hwcaps.rst) -> feature and
#: LLVM attribute.
_EXTENSIONS = (
    ("asimddp", "dotprod", "+dotprod"),
    ("i8mm", "i8mm", "+i8mm"),
    ("asimdhp", "fp16", "+fullfp16"),
)
_ARM_LIMITED = "0x41"
#: Part numbers of Arm's in-order cores (MIDR_EL1 in their Technical Reference Manuals):
#: Cortex-A7, A5, A35, A53, A55, A510, A520.
_IN_ORDER_PARTS = frozenset({"0xc07", "0xc05", "0xd04", "0xd03", "0xd05", "0xd46", "0xd80"})
_PART_NAMES = {
    "0xc07": "Cortex-A7",
    "0xd03": "Cortex-A53",
    "0xd05": "Cortex-A55",
    "0xd08": "Cortex-A72",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse N1",
    "0xd40": "Neoverse V1",
    "0xd49": "Neoverse N2",
    "0xd4f": "Neoverse V2",
}


def read_64(cpuinfo: str) -> HostFacts:
    """Return the features that all processors of a 64-bit machine share.

    Args:
        cpuinfo: contents of ``/proc/cpuinfo``.
    """
    blocks = read_blocks(cpuinfo)
    words = common_words(blocks, "Features")
    extensions = [e for e in _EXTENSIONS if e[0] in words]
    in_order = _all_in_order(blocks)
    return HostFacts(
        processor=_names(blocks),
        tvm={
            "kind": "llvm",
            "mtriple": "aarch64-linux-gnu",
            # LLVM then orders loads and arithmetic for a pipeline that cannot do so itself.
            "mcpu": "cortex-a53" if in_order else "generic",
            "mattr": ["+neon", *(attribute for _, _, attribute in extensions)],
            "opt-level": 3,
        },
        features=frozenset({"neon", *(feature for _, feature, _ in extensions)}),
        vector_bits=128,
        vector_registers=32,
        in_order=in_order,
    )


def read_32(cpuinfo: str) -> HostFacts:
    """Return the features of a 32-bit machine, or of a 64-bit one under a 32-bit Python.

    Args:
        cpuinfo: contents of ``/proc/cpuinfo``.
    """
    blocks = read_blocks(cpuinfo)
    words = common_words(blocks, "Features")
    usable = {"neon", "vfpv4"} <= words or "asimd" in words
    return HostFacts(
        processor=_names(blocks),
        tvm={
            "kind": "llvm",
            "mtriple": "armv7a-linux-gnueabihf",
            # See targets/armv7-linux.toml for the choice.
            "mcpu": "cortex-a15" if usable else "generic",
            "mattr": ["+neon", "+vfp4"] if usable else [],
            "mfloat-abi": "hard",
            "opt-level": 3,
        },
        features=frozenset({"neon", "vfp4"} if usable else ()),
        vector_bits=128,
        vector_registers=16,
        in_order=_all_in_order(blocks),
    )


def _all_in_order(blocks: list[dict[str, str]]) -> bool:
    """Whether no core reorders: where large cores are present they do most of the work."""
    parts = [b for b in blocks if "CPU part" in b]
    return bool(parts) and all(
        b.get("CPU implementer") == _ARM_LIMITED and b["CPU part"] in _IN_ORDER_PARTS
        for b in parts
    )


def _names(blocks: list[dict[str, str]]) -> str:
    """The kinds of cores, largest part number last."""
    kinds = {
        _PART_NAMES.get(b["CPU part"], f"part {b['CPU part']}")
        for b in blocks
        if b.get("CPU implementer") == _ARM_LIMITED and "CPU part" in b
    }
    return ", ".join(sorted(kinds))
