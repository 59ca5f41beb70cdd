"""The machine edgecomp runs on, as a target.

What enters code generation is an architecture level and a list of features, never the name of
the processor: two machines with the same features and caches build the same bytes.
"""

import functools
import pathlib
import sys

from edgecomp.device import host_arm, host_x86
from edgecomp.device.caches import Caches, read_caches
from edgecomp.device.host_facts import HostFacts
from edgecomp.device.read import NATIVE_COMPILERS, host_isa
from edgecomp.device.target import Board, Core, Target, Toolchain
from edgecomp.errors import Code, EdgecompError

#: Taken where the system does not tell its cache sizes: no core of the last decade has less.
_ASSUMED_L1_DATA_BYTES = 32 * 1024
_ASSUMED_L2_BYTES = 128 * 1024

_READERS = {"x86_64": host_x86.read, "aarch64": host_arm.read_64, "armv7": host_arm.read_32}
_ZIG_TARGETS = {
    "x86_64": "x86_64-linux-gnu.2.28",
    "aarch64": "aarch64-linux-gnu.2.28",
    "armv7": "arm-linux-gnueabihf.2.28",
}


@functools.cache  # a machine stays what it is, and its files take milliseconds to read
def detect_host(
    cpuinfo: pathlib.Path = pathlib.Path("/proc/cpuinfo"),
    system: pathlib.Path = pathlib.Path("/sys/devices/system/cpu"),
    isa: str = "",
) -> Target:
    """Detect the host.

    Args:
        cpuinfo: file that lists the processors' features.
        system: folder with their caches and topology.
        isa: what the process runs with, "" to ask the interpreter.

    Raises:
        EdgecompError: ``TARGET_UNKNOWN`` where detection does not work: another system than
            Linux or another architecture.
    """
    isa = isa or host_isa()
    if isa not in _READERS or not cpuinfo.is_file():
        raise EdgecompError(
            Code.TARGET_UNKNOWN,
            f"the target 'host' is not known for a {isa} machine with {sys.platform}",
            hint="name another target; 'edgecomp targets' lists them",
        )
    facts = _READERS[isa](cpuinfo.read_text(encoding="utf-8", errors="replace"))
    return _target(isa, facts, read_caches(system), str(cpuinfo), str(system))


def _target(isa: str, facts: HostFacts, caches: Caches, cpuinfo: str, system: str) -> Target:
    l1, l1_source = _cache(caches.l1_data_bytes, _ASSUMED_L1_DATA_BYTES, system)
    l2, l2_source = _cache(caches.l2_bytes, _ASSUMED_L2_BYTES, system)
    return Target(
        name="host",
        summary=f"this machine: {facts.processor}" if facts.processor else "this machine",
        tvm=facts.tvm,
        activation_dtype="uint8" if isa == "x86_64" else "int8",
        core=Core(
            name=facts.processor,
            isa=isa,
            features=facts.features,
            vector_bits=facts.vector_bits,
            vector_registers=facts.vector_registers,
            unit_bits=facts.unit_bits,
            adders_apart=facts.adders_apart,
            in_order=facts.in_order,
            l1_data_bytes=l1,
            l2_bytes=l2,
        ),
        board=Board(cores=caches.cores, l3_shared_bytes=caches.l3_shared_bytes),
        toolchain=Toolchain(
            triple="",
            compilers=NATIVE_COMPILERS,
            zig_target=_ZIG_TARGETS[isa],
            install="apt install gcc",
        ),
        threads=caches.cores,
        sources={
            "core.features": cpuinfo,
            "core.l1_data_bytes": l1_source,
            "core.l2_bytes": l2_source,
            "board.cores": system,
        },
    )


def _cache(found: int | None, assumed: int, system: str) -> tuple[int, str]:
    if found is None:
        return assumed, f"assumed: {system} does not tell"
    return found, system


def why_not_native(target: Target, host: Target | None = None) -> str:
    """Why this machine cannot run the target's code itself, or "" when it can.

    Args:
        target: whose code it is.
        host: this machine, None to detect it.
    """
    if target.name == "host":
        return ""
    try:
        host = host or detect_host()
    except EdgecompError as error:
        return error.cause
    if target.core.isa != host.core.isa:
        return f"the code is for {target.core.isa}, this machine is {host.core.isa}"
    if "android" in target.toolchain.triple:
        return "the code is for Android"
    missing = sorted(target.core.features - host.core.features)
    return f"this processor lacks {', '.join(missing)}" if missing else ""
