"""The target's processor, emulated by qemu's user mode: right numbers, meaningless times."""

import shutil

from edgecomp.bench.local import ProcessDevice
from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError


def qemu_device(target: Target) -> ProcessDevice:
    """The emulator that the target names.

    Raises:
        EdgecompError: DEVICE_UNREACHABLE when the target has none or it is not installed.
    """
    emulator = target.emulator
    if emulator is None:
        raise EdgecompError(
            Code.DEVICE_UNREACHABLE,
            f"target '{target.name}' has no emulator",
            hint="use --device local on a machine of that kind, or --device ssh:user@host",
        )
    if not shutil.which(emulator.command):
        raise EdgecompError(
            Code.DEVICE_UNREACHABLE,
            f"{emulator.command} is not installed",
            hint=emulator.install or f"install {emulator.command}",
        )
    sysroot = ("-L", emulator.sysroot) if emulator.sysroot else ()
    return ProcessDevice("qemu", (emulator.command, *emulator.arguments, *sysroot))
