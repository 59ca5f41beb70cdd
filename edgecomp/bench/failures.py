"""Why a program on a device ended: statuses and signals in words."""

import pathlib
import signal
from collections.abc import Sequence

from edgecomp.errors import Code, EdgecompError, ExitCode

#: A shell reports "killed by signal n" as this plus n.
_SHELL_SIGNAL_BASE = 128
_LAST_SIGNAL = 64

#: How the runner's messages begin.
_RUNNER_PREFIX = "edgecomp_run: error: "
#: How the runner's messages go on, where the bundle and not the device is at fault: the names
#: of statuses (runtime/src/core/status.c).
_BUNDLE_CODES = {
    "descriptor": Code.BUNDLE_INVALID,
    "version": Code.BUNDLE_VERSION,
    "weights_bytes": Code.BUNDLE_CORRUPT,
    "weights_hash": Code.BUNDLE_CORRUPT,
}
#: What qemu says when a program needs shared libraries that the sysroot lacks.
_NO_LIBRARIES = "Could not open '/lib"
_NO_LIBRARIES_HINT = (
    "install the target's C library for the emulator (apt install libc6-arm64-cross or "
    "libc6-armhf-cross), or build with a cross compiler, which links the runner statically"
)

_MEANINGS = {
    signal.SIGILL: (
        "it met an instruction that this processor does not have",
        "build for a target whose features the processor has; see 'edgecomp targets'",
    ),
    signal.SIGSEGV: (
        "it touched memory that is not its own",
        "please report it: this is a bug",
    ),
    signal.SIGBUS: (
        "it read a mapped file past its end, or an address that is not aligned",
        "copy the weights file again",
    ),
    signal.SIGFPE: ("it divided by zero", "please report it: this is a bug"),
    signal.SIGABRT: ("it stopped itself", "please report it: this is a bug"),
    signal.SIGKILL: (
        "the system stopped it, most often because memory ran out",
        "look at the memory figures of report.md",
    ),
}


def signal_of(returncode: int) -> int:
    """The signal that ended a process, 0 when it ended by itself."""
    if returncode < 0:
        return -returncode
    if _SHELL_SIGNAL_BASE < returncode <= _SHELL_SIGNAL_BASE + _LAST_SIGNAL:
        return returncode - _SHELL_SIGNAL_BASE
    return 0


def program_failed(
    device: str, command: Sequence[str], returncode: int, output: str
) -> EdgecompError:
    """The error for a program that ended with a status or a signal.

    Args:
        device: as given to ``--device``.
        command: what was run.
        returncode: of ``subprocess`` (negative: a signal) or of a shell (128 + signal).
        output: what it wrote to stderr.
    """
    number = signal_of(returncode)
    program = pathlib.PurePath(command[0]).name if command else "the program"
    if not number:
        said = output.strip().removeprefix(_RUNNER_PREFIX) or f"status {returncode}"
        code = Code.DEVICE_FAILED
        if returncode == ExitCode.VERSION:
            code = _BUNDLE_CODES.get(said.partition(":")[0], Code.BUNDLE_CORRUPT)
        hint = _NO_LIBRARIES_HINT if _NO_LIBRARIES in said else ""
        return EdgecompError(code, f"{program} failed on {device}: {said}", hint=hint)
    meaning, hint = _MEANINGS.get(number, ("", ""))  # type: ignore[call-overload]
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    cause = f"{program} was ended by {name} on {device}" + (f": {meaning}" if meaning else "")
    detail = f"\n{output.strip()}" if output.strip() else ""
    return EdgecompError(Code.DEVICE_FAILED, cause + detail, hint=hint)
