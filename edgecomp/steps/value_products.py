"""Whether products of two values become integers: where what runs the model has kernels for them."""

from edgecomp.device.target import Target
from edgecomp.options import QuantizeOptions
from edgecomp.steps.places import uses_gpu


def multiplies_values(options: QuantizeOptions, target: Target | None = None) -> bool:
    """Whether attention is quantized.

    A GPU has one kernel for all of it in floats: it would compute what is quantized in more steps.

    Args:
        options: may name accelerators.
        target: device, None where it is not known yet.
    """
    return not uses_gpu(target, options)
