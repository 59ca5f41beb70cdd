"""What instructions and bytes cost on a core, for the models of whole operations."""

import dataclasses
from typing import Any

from edgecomp.device.target import Target

#: Part of a cache up to which the tensors of an operation are taken to be there.
CACHE_SHARE = 0.75
#: To look up 16 bytes where an instruction covers half of the table; fitted to a Zen 4 (2026-11-22).
_PERMUTED_TABLE_INSTRUCTIONS = 2.0


@dataclasses.dataclass(frozen=True)
class Bytes:
    """Cycles to read and to write a byte."""

    read: float
    write: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rates:
    """Cycles of one core.

    Attributes:
        instructions_per_cycle: vector instructions that the core starts in the long run.
        call_cycles: of a kernel call, whatever it does.
        level1, level2, beyond: bytes of tensors, by the cache that holds them.
        weight_byte_cycles: to read a byte of weights that is used once, from level 2.
        stream_byte_cycles: the same from beyond it, on top.
        float_product, integer_product: cycles of a product's inner loops, relative to those
            of the tile model.
        finish_share: part of the time in which results are stored that other work does not
            hide.
        winograd: the same of Winograd's method, whose model is another.
        integer_depthwise: cycles of an integer depthwise kernel, relative to its instructions:
            weights come from memory.
        function_instructions: of elementwise functions, relative to those of AVX-512.
        table_instructions: to look up 16 bytes in a table of 256.
        clock_mhz: assumed where the board does not say.
    """

    instructions_per_cycle: float
    call_cycles: float
    level1: Bytes
    level2: Bytes
    beyond: Bytes
    weight_byte_cycles: float
    stream_byte_cycles: float
    float_product: float
    integer_product: float
    finish_share: float
    winograd: float
    integer_depthwise: float
    function_instructions: float
    table_instructions: float
    clock_mhz: int


#: x86: fitted to a Xeon of the Sapphire Rapids generation (2026-11-21), AVX2 on the same. ARM:
#: two NEON instructions a cycle, or one in order; instructions fitted to counts under qemu, bytes
#: assumed; no board was measured.
_KINDS = ("avx512", "avx2", "aarch64", "aarch64 in order", "armv7")
_TABLE: dict[str, tuple[Any, ...]] = {
    "instructions_per_cycle": (1.5, 2.2, 2.0, 1.0, 1.0),
    "call_cycles": (90.0, 90.0, 120.0, 120.0, 120.0),
    "level1": (*2 * (Bytes(0.012, 0.03),), Bytes(0.03, 0.06), *2 * (Bytes(0.06, 0.06),)),
    "level2": (*2 * (Bytes(0.035, 0.085),), Bytes(0.08, 0.12), *2 * (Bytes(0.15, 0.2),)),
    "beyond": (*2 * (Bytes(0.12, 0.2),), Bytes(0.3, 0.4), *2 * (Bytes(0.5, 0.6),)),
    "weight_byte_cycles": (0.06, 0.06, 0.1, 0.2, 0.2),
    "stream_byte_cycles": (0.14, 0.14, 0.5, 0.5, 0.5),
    "float_product": (1.1, 1.0, 1.1, 1.1, 1.1),
    "integer_product": (1.25, 1.1, 1.1, 1.1, 1.1),
    "finish_share": (0.0, 0.5, 0.5, 1.0, 1.0),
    "winograd": (1.25, 0.85, 1.1, 1.1, 1.1),
    "integer_depthwise": (1.4, 1.1, 1.2, 1.2, 1.2),
    "function_instructions": (1.0, 1.0, 1.5, 1.5, 1.5),
    "table_instructions": (9.5, 25.0, 14.0, 14.0, 40.0),
    "clock_mhz": (3500, 3500, 1800, 1800, 1200),
}
_RATES = {
    kind: Rates(**{field: values[column] for field, values in _TABLE.items()})
    for column, kind in enumerate(_KINDS)
}


def rates_of(target: Target) -> Rates:
    """The rates of a target's core."""
    core = target.core
    if core.isa == "x86_64":
        return _RATES["avx512" if core.vector_bits >= 512 else "avx2"]
    in_order = " in order" if core.isa == "aarch64" and core.in_order else ""
    return _RATES[core.isa + in_order]


def table_instructions(target: Target) -> float:
    """To look up 16 bytes in a table of 256."""
    if target.has("avx512vbmi"):
        return _PERMUTED_TABLE_INSTRUCTIONS
    return rates_of(target).table_instructions


def bound(
    instructions: float, read_bytes: float, written_bytes: float, target: Target
) -> float:
    """Cycles of a kernel: its instructions or its traffic, whichever takes longer."""
    cycles = instructions / rates_of(target).instructions_per_cycle
    return max(cycles, traffic_cycles(read_bytes, written_bytes, target))


def traffic_cycles(read_bytes: float, written_bytes: float, target: Target) -> float:
    """Cycles to read and write the tensors of an operation.

    Each part of them that exceeds a cache comes from the next.
    """
    rates, core = rates_of(target), target.core
    left = read_bytes + written_bytes
    if not left:
        return 0.0
    written_share = written_bytes / left
    cycles = 0.0
    for bytes_, room in (
        (rates.level1, core.l1_data_bytes * CACHE_SHARE),
        (rates.level2, core.l2_bytes * CACHE_SHARE),
        (rates.beyond, float("inf")),
    ):
        part = min(left, room)
        cycles += part * (bytes_.read * (1 - written_share) + bytes_.write * written_share)
        left -= part
    return cycles
