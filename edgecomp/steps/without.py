"""Schedules that options leave out."""

from edgecomp.options import QuantizeOptions
from edgecomp.schedules.cpu import paired_product, winograd
from edgecomp.schedules.gpu import winograd as gpu_winograd
from edgecomp.schedules.gpu.family import gpu_names

#: Schedules by Winograd's methods: of convolutions, the processor's and those of GPUs, and of inner
#: products.
_WINOGRAD = (winograd.NAME, paired_product.NAME, *gpu_names(gpu_winograd.NAME))


def left_out(options: QuantizeOptions) -> tuple[str, ...]:
    """Names of the schedules that a build with the options does not use."""
    return () if getattr(options, "winograd", True) else _WINOGRAD
