"""Targets for kernel tests: what the tests name, independent of the files in targets/."""

import dataclasses
import functools
import pathlib

from edgecomp.device.target import Core, Emulator, Target, Toolchain


def _x86(name, mcpu, mattr, features, vector_bits, registers):
    return Target(
        name=name,
        summary=name,
        tvm={"kind": "llvm", "mcpu": mcpu, "mattr": mattr, "opt-level": 3},
        activation_dtype="uint8",
        core=Core(
            isa="x86_64",
            features=frozenset(features),
            vector_bits=vector_bits,
            vector_registers=registers,
            l1_data_bytes=32768,
            l2_bytes=1 << 20,
        ),
        toolchain=Toolchain(triple="", compilers=("cc", "gcc", "clang")),
    )


AVX2 = _x86("avx2", "x86-64-v3", [], {"avx2", "fma"}, 256, 16)
AVX512 = _x86(
    "avx512", "x86-64-v4", ["+avx512vnni"], {"avx2", "fma", "avx512", "avx512vnni"}, 512, 32
)
VBMI = _x86(
    "vbmi",
    "x86-64-v4",
    ["+avx512vnni", "+avx512vbmi"],
    {"avx2", "fma", "avx512", "avx512vnni", "avx512vbmi"},
    512,
    32,
)
#: The same instructions as AVX512's on units of 256 bits.
HALVES = dataclasses.replace(
    AVX512, name="halves", core=dataclasses.replace(AVX512.core, unit_bits=256)
)

#: A Zen 4: the same, with adders of its own.
PAIRS = dataclasses.replace(
    HALVES, name="pairs", core=dataclasses.replace(HALVES.core, adders_apart=True)
)


def _aarch64(name, mcpu, mattr, features, *, in_order, cpu):
    return Target(
        name=name,
        summary=name,
        tvm={"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": mcpu, "mattr": mattr},
        activation_dtype="int8",
        core=Core(
            isa="aarch64",
            features=frozenset(features),
            vector_bits=128,
            vector_registers=32,
            in_order=in_order,
            l1_data_bytes=32768,
            l2_bytes=1 << 19,
        ),
        toolchain=Toolchain(
            triple="aarch64-linux-gnu",
            compilers=("aarch64-linux-gnu-gcc",),
            zig_target="aarch64-linux-gnu.2.28",
        ),
        emulator=Emulator(
            command="qemu-aarch64", arguments=("-cpu", cpu), sysroot="/usr/aarch64-linux-gnu"
        ),
    )


A53 = _aarch64("a53", "cortex-a53", ["+neon"], {"neon"}, in_order=True, cpu="cortex-a53")
#: qemu 7.2 has no cortex-a55; the same instructions run on its cortex-a76.
A55 = _aarch64(
    "a55",
    "cortex-a55",
    ["+neon", "+dotprod"],
    {"neon", "dotprod"},
    in_order=True,
    cpu="cortex-a76",
)
A76 = _aarch64(
    "a76",
    "cortex-a76",
    ["+neon", "+dotprod"],
    {"neon", "dotprod"},
    in_order=False,
    cpu="cortex-a76",
)
I8MM = _aarch64(
    "i8mm",
    "neoverse-n2",
    ["+neon", "+dotprod", "+i8mm"],
    {"neon", "dotprod", "i8mm"},
    in_order=False,
    cpu="max",
)
ARMV7 = Target(
    name="armv7",
    summary="armv7",
    # The cortex-a7 and a9 models of LLVM split a fused multiply-add: cortex-a15 does not.
    tvm={
        "kind": "llvm",
        "mtriple": "armv7a-linux-gnueabihf",
        "mcpu": "cortex-a15",
        "mattr": ["+neon", "+vfp4"],
        "mfloat-abi": "hard",
    },
    activation_dtype="int8",
    core=Core(
        isa="armv7",
        features=frozenset({"neon"}),
        vector_bits=128,
        vector_registers=16,
        in_order=False,
        l1_data_bytes=32768,
        l2_bytes=1 << 19,
    ),
    toolchain=Toolchain(
        triple="arm-linux-gnueabihf",
        compilers=("arm-linux-gnueabihf-gcc",),
        zig_target="arm-linux-gnueabihf.2.28",
    ),
    emulator=Emulator(
        command="qemu-arm",
        arguments=("-cpu", "cortex-a15"),
        sysroot="/usr/arm-linux-gnueabihf",
    ),
)


@functools.cache
def _cpu_flags():
    text = (
        pathlib.Path("/proc/cpuinfo").read_text()
        if pathlib.Path("/proc/cpuinfo").exists()
        else ""
    )
    return set(
        next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    )


def reason_not_runnable(target):
    """ "" when this machine can run the target's code, else why not."""
    import shutil

    if target.emulator:
        if not shutil.which(target.emulator.command):
            return f"{target.emulator.command} is not installed (apt install qemu-user)"
        if not any(shutil.which(c) for c in target.toolchain.compilers):
            return f"{target.toolchain.compilers[0]} is not installed"
        return ""
    needs = {
        "avx2": {"avx2", "fma"},
        "avx512": {"avx512f", "avx512bw", "avx512vl", "avx512dq"},
        "avx512vbmi": {"avx512vbmi"},
        "avx512vnni": {"avx512_vnni"},
        "avx512vpopcntdq": {"avx512_vpopcntdq"},
        "fma": {"fma"},
        "avxvnni": {"avx_vnni"},
    }
    for feature in sorted(target.core.features):
        missing = needs.get(feature, set()) - _cpu_flags()
        if missing:
            return f"this processor lacks {', '.join(sorted(missing))}"
    return ""


ALL = (AVX2, AVX512, A53, A55, A76, I8MM, ARMV7)
HOSTS = (AVX2, AVX512)
EMULATED = (A53, A55, A76, I8MM, ARMV7)
