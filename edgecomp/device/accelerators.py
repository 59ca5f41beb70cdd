"""Whether a target has what ``--accelerator`` names."""

from collections.abc import Collection

from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError


def require_accelerators(target: Target, accelerators: Collection[str]) -> None:
    """Refuse what a target does not have.

    Raises:
        EdgecompError: USAGE.
    """
    if "gpu" in accelerators and target.gpu is None:
        raise EdgecompError(
            Code.USAGE,
            f"--accelerator: target '{target.name}' has no GPU",
            hint="leave the option out, or build for a target with one: 'edgecomp targets'",
        )
    if {"cpu", "gpu"} <= set(accelerators) and target.gpu and target.gpu.speed is None:
        raise EdgecompError(
            Code.USAGE,
            f"--accelerator cpu,gpu: target '{target.name}' does not say how fast its GPU is",
            hint="add [gpu.speed] to the target's file (docs/targets.md), or --accelerator gpu",
        )
