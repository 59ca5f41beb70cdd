"""Which products of two values become integers: where what runs the model has kernels for them."""

from edgecomp.device.target import Target
from edgecomp.options import QuantizeOptions
from edgecomp.passes.quantization_options import ValueProducts
from edgecomp.steps.places import uses_gpu

#: Of GPUs that have one kernel for all of attention in integers, any of these.
_FEATURES = frozenset({"int8_mma", "int8_wmma"})


def multiplied_values(options: QuantizeOptions, target: Target | None = None) -> ValueProducts:
    """Which of attention's products are quantized.

    A GPU has one kernel for all of attention, in floats or in integers: one product of each would be
    more steps.

    Args:
        options: may name accelerators.
        target: device, None where it is not known yet.
    """
    if not uses_gpu(target, options):
        return ValueProducts.EACH
    gpu = target.gpu if target is not None else None
    has_kernel = gpu is not None and not _FEATURES.isdisjoint(gpu.features)
    return ValueProducts.WHOLE if has_kernel else ValueProducts.NONE
