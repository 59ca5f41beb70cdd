"""What ELF headers say about an object or a library: sizes, alignment, symbols left open.

Source: System V ABI, chapters "Object Files" and "Program Loading" (ELF32 and ELF64).
"""

import dataclasses
import struct
from collections.abc import Iterator

_PROGRAM_LOAD = 1
_PROGRAM_STACK = 0x6474E551
_SECTION_SYMBOLS = 2
_SECTION_NO_BITS = 8
_SECTION_ALLOCATED = 0x2
_EXECUTABLE = 0x1
_WEAK = 2


@dataclasses.dataclass(frozen=True)
class _Layout:
    """Where the fields are: (header offset, struct format) for the two word sizes."""

    header: str
    section: str
    program: str
    symbol: str


_LAYOUTS = {
    1: _Layout("16xHHIIIIIHHHHHH", "IIIIIIIIII", "IIIIIIII", "IIIBBH"),
    2: _Layout("16xHHIQQQIHHHHHH", "IIQQQQIIQQ", "IIQQQQQQ", "IBBHQQ"),
}


@dataclasses.dataclass(frozen=True)
class Section:
    """One section header."""

    kind: int
    flags: int
    offset: int
    bytes: int
    link: int


@dataclasses.dataclass(frozen=True)
class Segment:
    """One program header."""

    kind: int
    flags: int
    alignment: int


@dataclasses.dataclass(frozen=True)
class Symbol:
    """One entry of a symbol table.

    Attributes:
        name: as linked.
        name_offset: where the name is in the file.
        binding: 0 local, 1 global, 2 weak.
        defined: whether this file defines it.
    """

    name: str
    name_offset: int
    binding: int
    defined: bool


@dataclasses.dataclass(frozen=True)
class Elf:
    """A parsed file.

    Attributes:
        word_bits: 32 or 64.
        machine: ``e_machine`` (62 x86-64, 183 aarch64, 40 arm).
        sections, segments: headers in file order.
        content: the file.
    """

    word_bits: int
    machine: int
    sections: tuple[Section, ...]
    segments: tuple[Segment, ...]
    content: bytes

    @property
    def loaded_bytes(self) -> int:
        """Bytes of code and data that end up in a linked program, zero-filled ones apart."""
        return sum(
            s.bytes
            for s in self.sections
            if s.flags & _SECTION_ALLOCATED and s.kind != _SECTION_NO_BITS
        )

    @property
    def page_bytes(self) -> int:
        """Least alignment of a loaded segment: the largest page size that can map the file."""
        return min((s.alignment for s in self.segments if s.kind == _PROGRAM_LOAD), default=0)

    @property
    def executable_stack(self) -> bool:
        """Whether the file asks for a stack that can be executed."""
        return any(s.kind == _PROGRAM_STACK and s.flags & _EXECUTABLE for s in self.segments)

    def symbols(self) -> Iterator["Symbol"]:
        """Symbols of the file, in order."""
        layout = "<" + _LAYOUTS[self.word_bits // 32].symbol
        for section in self.sections:
            if section.kind != _SECTION_SYMBOLS:
                continue
            names = self.sections[section.link]
            table = self.content[section.offset : section.offset + section.bytes]
            for fields in struct.iter_unpack(layout, table):
                start = names.offset + fields[0]
                name = self.content[start : self.content.index(b"\0", start)].decode()
                binding, index = (3, 5) if self.word_bits == 32 else (1, 3)
                yield Symbol(name, start, fields[binding] >> 4, fields[index] != 0)


def parse(content: bytes) -> Elf | None:
    """Read the headers; None when the file is not little-endian ELF (Mach-O, COFF)."""
    if content[:4] != b"\x7fELF" or content[5] != 1:
        return None
    layout = _LAYOUTS[content[4]]
    header = struct.unpack_from("<" + layout.header, content)
    machine, program_offset, section_offset = header[1], header[4], header[5]
    program_bytes, programs, section_bytes, sections = header[8:12]
    return Elf(
        word_bits=32 * content[4],
        machine=machine,
        sections=tuple(
            _section(content, layout, section_offset + i * section_bytes)
            for i in range(sections)
        ),
        segments=tuple(
            _segment(content, layout, program_offset + i * program_bytes)
            for i in range(programs)
        ),
        content=content,
    )


def loaded_bytes(content: bytes) -> int:
    """Code and data of an object, or its whole size where the format is not ELF."""
    elf = parse(content)
    return len(content) if elf is None else elf.loaded_bytes


def own_weak_symbols(content: bytes) -> bytes:
    """Rename the weak ``__names`` that an object defines to ``ecnames``.

    TVM's LLVM back end puts its own ``__truncsfhf2`` and ``__extendhfsf2`` into every object.
    They pass halves in another register than the compiler's own functions of these names do on
    x86-64, so an app that links the kernels statically must not find them.
    """
    elf = parse(content)
    if elf is None:
        return content
    changed = bytearray(content)
    for symbol in elf.symbols():
        if symbol.defined and symbol.binding == _WEAK and symbol.name.startswith("__"):
            changed[symbol.name_offset : symbol.name_offset + 2] = b"ec"
    return bytes(changed)


def _section(content: bytes, layout: _Layout, offset: int) -> Section:
    fields = struct.unpack_from("<" + layout.section, content, offset)
    return Section(
        kind=fields[1], flags=fields[2], offset=fields[4], bytes=fields[5], link=fields[6]
    )


def _segment(content: bytes, layout: _Layout, offset: int) -> Segment:
    fields = struct.unpack_from("<" + layout.program, content, offset)
    # 32-bit: type offset vaddr paddr filesz memsz flags align; 64-bit has flags second.
    flags = fields[6] if layout is _LAYOUTS[1] else fields[1]
    return Segment(kind=fields[0], flags=flags, alignment=fields[7])
