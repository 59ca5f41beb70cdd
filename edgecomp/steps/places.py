"""Where what a build makes runs, as its target and options say."""

from edgecomp.device.target import Target
from edgecomp.options import QuantizeOptions


def uses_gpu(target: Target | None, options: QuantizeOptions) -> bool:
    """Whether a target's GPU computes: options without accelerators, and those that name none, let it."""
    accelerators = getattr(options, "accelerators", ()) or ("gpu",)
    return target is not None and target.gpu is not None and "gpu" in accelerators
