"""The machine itself."""

import platform
import sys

from edgecomp.device.load import HOST, load_target
from edgecomp.doctor.finding import Finding, State
from edgecomp.errors import EdgecompError

_LEAST_PYTHON = (3, 11)


def look() -> list[Finding]:
    """Python and the target ``host``."""
    return [_python(), _host()]


def _python() -> Finding:
    good = sys.version_info >= _LEAST_PYTHON
    least = ".".join(str(part) for part in _LEAST_PYTHON)
    return Finding(
        name="python",
        state=State.OK if good else State.WRONG,
        found=f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        purpose="everything",
        hint="" if good else f"use Python {least} or later",
        fatal=True,
    )


def _host() -> Finding:
    try:
        target = load_target(HOST)
    except EdgecompError as error:
        return Finding(
            name="host",
            state=State.MISSING,
            found=error.cause,
            purpose="--target host",
            hint=error.hint,
        )
    core = target.core
    facts = [
        core.name or core.isa,
        " ".join(sorted(core.features)),
        f"{target.threads} cores",
        f"L1 {core.l1_data_bytes // 1024} KiB",
        f"L2 {core.l2_bytes // 1024} KiB",
    ]
    return Finding(
        name="host", state=State.OK, found=", ".join(facts), purpose="--target host"
    )
