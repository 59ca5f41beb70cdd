"""Programs that edgecomp starts."""

import pathlib
import shutil
import subprocess

from edgecomp.device.load import list_targets
from edgecomp.device.target import Emulator
from edgecomp.doctor.finding import Finding, State

#: Program -> purpose, how to get it.
_TOOLS = {
    "ssh": ("--device ssh:user@host", "apt install openssh-client"),
    "scp": ("--device ssh:user@host", "apt install openssh-client"),
    "nvcc": (
        "targets with CUDA",
        "apt install nvidia-cuda-toolkit, or NVIDIA's of the device's driver",
    ),
    "cmake": ("apps that find_package a bundle", "apt install cmake"),
}
_TIMEOUT_S = 20


def look() -> list[Finding]:
    """Emulators of the targets, then tools."""
    emulators: dict[str, Emulator] = {}
    users: dict[str, list[str]] = {}
    for target in list_targets():
        if target.emulator:
            emulators[target.emulator.command] = target.emulator
            users.setdefault(target.emulator.command, []).append(target.name)
    found = [_emulator(e, users[command]) for command, e in emulators.items()]
    return found + [_tool(name, *facts) for name, facts in _TOOLS.items()]


def _emulator(emulator: Emulator, users: list[str]) -> Finding:
    purpose = f"--device qemu with {', '.join(users)}"
    if not shutil.which(emulator.command):
        return Finding(
            name=emulator.command,
            state=State.MISSING,
            purpose=purpose,
            hint=emulator.install,
        )
    found = _first_line(emulator.command, "--version")
    if not pathlib.Path(emulator.sysroot).is_dir():
        # Statically linked programs still run.
        found += f"; no libraries in {emulator.sysroot}"
    return Finding(name=emulator.command, state=State.OK, found=found, purpose=purpose)


def _tool(name: str, purpose: str, install: str) -> Finding:
    path = shutil.which(name)
    return Finding(
        name=name,
        state=State.OK if path else State.MISSING,
        found=path or "",
        purpose=purpose,
        hint="" if path else install,
    )


def _first_line(*command: str) -> str:
    """First line that a program says about itself, "" when it says nothing."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return next(iter((done.stdout or done.stderr).splitlines()), "")
