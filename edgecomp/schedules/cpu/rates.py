"""What instructions and bytes cost on a core, for the models of whole operations."""

import dataclasses

from edgecomp.device.target import Target

#: Part of a cache up to which the tensors of an operation are taken to be there.
CACHE_SHARE = 0.75


@dataclasses.dataclass(frozen=True, kw_only=True)
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
_AVX512 = Rates(
    instructions_per_cycle=1.5,
    call_cycles=90.0,
    level1=Bytes(read=0.012, write=0.03),
    level2=Bytes(read=0.035, write=0.085),
    beyond=Bytes(read=0.12, write=0.2),
    weight_byte_cycles=0.06,
    stream_byte_cycles=0.14,
    float_product=1.1,
    integer_product=1.25,
    finish_share=0.0,
    winograd=1.25,
    integer_depthwise=1.4,
    function_instructions=1.0,
    table_instructions=9.5,
    clock_mhz=3500,
)
_AVX2 = dataclasses.replace(
    _AVX512,
    instructions_per_cycle=2.2,
    float_product=1.0,
    integer_product=1.1,
    finish_share=0.5,
    winograd=0.85,
    integer_depthwise=1.1,
    table_instructions=25.0,
)
_ARM64 = Rates(
    instructions_per_cycle=2.0,
    call_cycles=120.0,
    level1=Bytes(read=0.03, write=0.06),
    level2=Bytes(read=0.08, write=0.12),
    beyond=Bytes(read=0.3, write=0.4),
    weight_byte_cycles=0.1,
    stream_byte_cycles=0.5,
    float_product=1.1,
    integer_product=1.1,
    finish_share=0.5,
    winograd=1.1,
    integer_depthwise=1.2,
    function_instructions=1.5,
    table_instructions=14.0,
    clock_mhz=1800,
)
_ARM64_IN_ORDER = dataclasses.replace(
    _ARM64,
    instructions_per_cycle=1.0,
    level1=Bytes(read=0.06, write=0.06),
    level2=Bytes(read=0.15, write=0.2),
    beyond=Bytes(read=0.5, write=0.6),
    weight_byte_cycles=0.2,
    finish_share=1.0,
)
_ARM32 = dataclasses.replace(_ARM64_IN_ORDER, table_instructions=40.0, clock_mhz=1200)


def rates_of(target: Target) -> Rates:
    """The rates of a target's core."""
    core = target.core
    if core.isa == "x86_64":
        return _AVX512 if core.vector_bits >= 512 else _AVX2
    if core.isa == "armv7":
        return _ARM32
    return _ARM64_IN_ORDER if core.in_order else _ARM64


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
