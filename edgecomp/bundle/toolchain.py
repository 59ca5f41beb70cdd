"""Find a C compiler for a target and drive it.

The commands of the target file come first, then ``python -m ziglang cc`` where ``ziglang`` is
installed. Everything runs with relative paths in the bundle's folder, so that no path of this
machine enters a file.
"""

import dataclasses
import errno
import functools
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Literal

from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.held import scratch_folder

_COMPILE_FLAGS = (
    "-O2",
    "-std=c11",
    "-fPIC",
    "-ffunction-sections",
    "-fdata-sections",
    "-fvisibility=hidden",
    "-fno-ident",
    "-g0",  # zig adds debug information, with paths, by itself
    "-pthread",
    "-Wall",
    "-Wextra",
)
#: Android and arm64 Linux machines may use pages of 16 or 64 KiB: 16 KiB is what app stores ask.
_PAGE_FLAGS = {"aarch64": ("-Wl,-z,max-page-size=16384",)}
_LINK_FLAGS = (
    "-Wl,--gc-sections",
    "-Wl,-z,noexecstack",
    "-Wl,--build-id=none",
    "-s",
)
#: What a shared library shows: the C interface, nothing of the kernels.
_EXPORTS = (
    "{ global: ec_last_*; ec_model_*; ec_open_*; ec_session_*; ec_status_*; local: *; };"
)
_COMPILER_TIMEOUT_S = 300
#: A tool that fails where a disk has no more than this was out of space, whatever it says.
_LEAST_FREE_BYTES = 1 << 20


#: ``auto``: the target's own compilers, then zig; ``zig``: only that; ``none``: sources and
#: objects, no libraries.
ToolchainUse = Literal["auto", "zig", "none"]


@dataclasses.dataclass(frozen=True)
class Compiler:
    """A command that compiles and links C for one target.

    Attributes:
        command: program and the arguments that pick the target.
        archiver: the ``ar`` that goes with it.
        identity: first line of ``--version``, with which results may be compared.
        flags: the target's own flags, for compiling and linking.
        isa: the target's instruction set.
    """

    command: tuple[str, ...]
    archiver: tuple[str, ...]
    identity: str
    flags: tuple[str, ...]
    isa: str

    @property
    def compile_command(self) -> tuple[str, ...]:
        """Everything before the include folders, the source and ``-o``."""
        return (*self.command, *self.flags, *_COMPILE_FLAGS, "-c")

    def compile(
        self, source: str, out: str, includes: Sequence[str], folder: pathlib.Path
    ) -> None:
        """Compile one C or assembly file; paths are relative to ``folder``."""
        (folder / out).parent.mkdir(parents=True, exist_ok=True)
        arguments = [f"-I{include}" for include in includes]
        self._run([*self.compile_command, *arguments, source, "-o", out], folder)

    def link_shared(
        self,
        objects: Sequence[str],
        out: str,
        folder: pathlib.Path,
        libraries: Sequence[str] = (),
    ) -> None:
        """Link a stripped shared library; ``libraries`` are further flags (``-ldl``)."""
        with scratch_folder() as scratch:
            exports = scratch / "exports.map"
            exports.write_text(_EXPORTS)
            kind = [
                "-shared",
                f"-Wl,-soname,{pathlib.PurePath(out).name}",
                f"-Wl,--version-script={exports}",
            ]
            self._link(kind, objects, out, folder, libraries)

    def link_program(
        self,
        objects: Sequence[str],
        out: str,
        folder: pathlib.Path,
        *,
        static: bool,
        libraries: Sequence[str] = (),
    ) -> None:
        """Link a stripped program; ``libraries`` are further flags."""
        self._link(["-static"] if static else [], objects, out, folder, libraries)

    def archive(self, objects: Sequence[str], out: str, folder: pathlib.Path) -> None:
        """Make a static library; ``D`` leaves times and owners out."""
        (folder / out).parent.mkdir(parents=True, exist_ok=True)
        (folder / out).unlink(missing_ok=True)
        self._run([*self.archiver, "rcsD", out, *objects], folder)

    def _link(
        self,
        kind: Sequence[str],
        objects: Sequence[str],
        out: str,
        folder: pathlib.Path,
        libraries: Sequence[str],
    ) -> None:
        (folder / out).parent.mkdir(parents=True, exist_ok=True)
        flags = (*self.flags, *_LINK_FLAGS, *_PAGE_FLAGS.get(self.isa, ()))
        command = [
            *self.command,
            *flags,
            *kind,
            *objects,
            "-o",
            out,
            "-pthread",
            "-lm",
            *libraries,
        ]
        self._run(command, folder)

    def _run(self, command: Sequence[str], folder: pathlib.Path) -> None:
        done = _start(command, folder)
        if done.returncode and (
            os.strerror(errno.ENOSPC) in done.stderr
            or shutil.disk_usage(folder).free < _LEAST_FREE_BYTES
        ):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        if done.returncode:
            raise EdgecompError(
                Code.TOOLCHAIN_FAILED,
                f"{command[0]} ended with status {done.returncode}\n"
                f"{' '.join(command)}\n{(done.stderr or done.stdout).strip()}",
                hint="try another compiler with the target's 'compilers' list",
            )


def _start(
    command: Sequence[str], folder: pathlib.Path | None = None
) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command,
            cwd=folder,
            # Its temporary files lie where they are removed with everything else.
            env={**os.environ, "TMPDIR": str(folder)} if folder else None,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_COMPILER_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EdgecompError(
            Code.TOOLCHAIN_FAILED, f"{command[0]} could not be run: {error}"
        ) from error


def find_compiler(target: Target, use: ToolchainUse = "auto") -> Compiler | None:
    """The first compiler of the target that is installed and answers, or None."""
    if use == "none":
        return None
    for name in target.toolchain.compilers if use == "auto" else ():
        if shutil.which(name):
            compiler = _compiler((name,), _archiver_of(name), target)
            if compiler:
                return compiler
    if target.toolchain.zig_target and importlib.util.find_spec("ziglang"):
        zig = (sys.executable, "-m", "ziglang")
        command = (*zig, "cc", "-target", target.toolchain.zig_target)
        return _compiler(command, (*zig, "ar"), target)
    return None


def missing_hint(target: Target) -> str:
    """What to install for a target without a compiler."""
    parts = [target.toolchain.install] if target.toolchain.install else []
    if not parts and target.toolchain.compilers:
        parts = [f"install {' or '.join(target.toolchain.compilers)}"]
    if target.toolchain.zig_target:
        parts.append("'pip install ziglang'")
    return ", or ".join(parts) or "build the bundle's CMakeLists.txt with the device's own SDK"


def _compiler(
    command: tuple[str, ...], archiver: tuple[str, ...], target: Target
) -> Compiler | None:
    identity = _identity(command)
    if not identity:
        return None
    return Compiler(command, archiver, identity, target.toolchain.flags, target.core.isa)


@functools.cache
def _identity(command: tuple[str, ...]) -> str:
    """First line of ``--version``; "" when the command does not work."""
    try:
        done = _start([*command, "--version"])
    except EdgecompError:
        return ""
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout else ""


@functools.cache
def _archiver_of(compiler: str) -> tuple[str, ...]:
    """The ``ar`` that knows the compiler's objects: a cross gcc has its own, clang any llvm-ar."""
    answer = _start([compiler, "-print-prog-name=ar"]).stdout.strip()
    _, clang, version = pathlib.PurePath(compiler).name.partition("clang")
    candidates = [f"llvm-ar{version}", "llvm-ar", answer] if clang else [answer]
    return (next((c for c in candidates if c and shutil.which(c)), "ar"),)
