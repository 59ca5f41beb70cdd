"""A target file to a ``Target``: the shape of the file, and what is checked in it.

The file is TOML with ``schema = 1``. Its tables are the dataclasses of
``edgecomp.device.target`` and their fields are the keys. An unknown figure is an absent key.
"""

import dataclasses
import os
import pathlib
import platform
import struct
import sys
import tomllib
from collections.abc import Callable
from typing import Any

from edgecomp.device.checks import check_choice, check_names, check_positive
from edgecomp.device.gpu_file import GpuFile
from edgecomp.device.target import Board, Core, Emulator, Target, Toolchain
from edgecomp.errors import Code, EdgecompError
from edgecomp.records import RecordError, read_record

SCHEMA = 1

ISAS = ("x86_64", "aarch64", "armv7")
FEATURES = {
    "x86_64": (
        "avx2",
        "fma",
        "avx512",
        "avx512vbmi",
        "avx512vnni",
        "avx512vpopcntdq",
        "avxvnni",
    ),
    "aarch64": ("neon", "dotprod", "i8mm", "fp16"),
    "armv7": ("neon", "vfp4"),
}
ACTIVATION_DTYPES = ("uint8", "int8")

#: Keys that TVM's "llvm" kind takes and that make sense in a file; "host" is left out because
#: kernels with a host get TVM's packed signature instead of plain pointers.
_TVM_KEYS = (
    "kind",
    "mtriple",
    "mcpu",
    "mattr",
    "mfloat-abi",
    "mabi",
    "opt-level",
    "vector-width",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _File:
    """Keys of a target file."""

    schema: int
    name: str
    summary: str
    aliases: tuple[str, ...] = ()
    activation_dtype: str
    tvm: dict[str, Any]
    core: Core
    board: Board = dataclasses.field(default_factory=Board)
    toolchain: Toolchain
    emulator: Emulator | None = None
    sources: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("activation_dtype", self.activation_dtype, ACTIVATION_DTYPES)
        check_choice("core.isa", self.core.isa, ISAS)
        for feature in sorted(self.core.features):
            check_choice("core.features", feature, FEATURES[self.core.isa])
        check_names(self.name, self.aliases)
        for key in self.tvm:
            check_choice("tvm", key, _TVM_KEYS)
        if self.tvm.get("kind") != "llvm":
            raise RecordError("tvm.kind", "expected 'llvm'")
        check_positive(self.core, "core")
        check_positive(self.board, "board")


def read_target(
    path: pathlib.Path, cpu_target: Callable[[str], Target] | None = None
) -> Target:
    """Read one target file.

    Args:
        path: of the file.
        cpu_target: gives the target that a file of a GPU names as its processor; None where
            the file has to be a processor's.

    Raises:
        EdgecompError: ``TARGET_INVALID`` with the file and the key, ``FILE_MISSING``.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EdgecompError(
            Code.FILE_MISSING, "the target file does not exist", path=str(path)
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _invalid(path, f"cannot be read as TOML: {error}") from error
    # An old edgecomp must not complain about the keys of a later schema one by one.
    if table.get("schema") != SCHEMA:
        raise _invalid(
            path,
            f"schema: expected {SCHEMA}, found {table.get('schema')!r}",
            f"put 'schema = {SCHEMA}' at the top, or update edgecomp",
        )
    try:
        if "cpu" in table:
            return _target_with_gpu(table, cpu_target)
        file = read_record(_File, table)
        _check_sources(file.sources, table)
    except RecordError as error:
        raise _invalid(path, str(error), error.hint) from error
    return _target(file)


def _target_with_gpu(
    table: dict[str, Any], cpu_target: Callable[[str], Target] | None
) -> Target:
    file = read_record(GpuFile, table)
    _check_sources(file.sources, table)
    if cpu_target is None:
        raise RecordError(
            "cpu", f"'{file.name}' has a GPU of its own", "name a target without"
        )
    return file.beside(cpu_target(file.cpu))


def read_names(path: pathlib.Path) -> tuple[str, ...]:
    """Name and aliases of the target that a file of this package describes."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return (str(table["name"]), *map(str, table.get("aliases", ())))


def host_isa() -> str:
    """The instruction set this process runs with: one of ``ISAS``, or the machine's own name."""
    machine = platform.machine().lower()
    isa = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
    if machine in isa:
        # A 32-bit Python on a 64-bit kernel loads 32-bit libraries.
        if struct.calcsize("P") == 4:
            return "armv7" if isa[machine] == "aarch64" else "x86"
        return isa[machine]
    return "armv7" if machine.startswith("armv7") else machine


#: Compilers of the machine itself, in order.
NATIVE_COMPILERS = ("cc", "gcc", "clang")


def _target(file: _File) -> Target:
    toolchain = dataclasses.replace(
        file.toolchain, compilers=_compilers(file.toolchain, file.core.isa)
    )
    values = {f.name: getattr(file, f.name) for f in dataclasses.fields(file)}
    del values["schema"]
    values["toolchain"] = toolchain
    return Target(**values, threads=file.board.cores or 1)


def _compilers(toolchain: Toolchain, isa: str) -> tuple[str, ...]:
    """The file's commands with ``$VARIABLES`` filled in, those without a value left out.

    The machine's own compilers come first where they make the target's code.
    """
    expanded = [os.path.expandvars(command) for command in toolchain.compilers]
    named = tuple(command for command in expanded if "$" not in command)
    linux = toolchain.triple.endswith(("-linux-gnu", "-linux-gnueabihf"))
    native = linux and sys.platform == "linux" and isa == host_isa()
    return (*NATIVE_COMPILERS, *named) if native else named


def _check_sources(sources: dict[str, str], table: dict[str, Any]) -> None:
    for key in sources:
        group, _, name = key.partition(".")
        if name not in (table.get(group) or {}):
            raise RecordError(f'sources."{key}"', "the file has no such key")


def _invalid(path: pathlib.Path, cause: str, hint: str = "") -> EdgecompError:
    return EdgecompError(
        Code.TARGET_INVALID, f"target file: {cause}", path=str(path), hint=hint
    )
