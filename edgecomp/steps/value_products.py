"""Whether products of two values become integers: where what runs the model has kernels for them."""

import onnx_ir as ir

from edgecomp.device.target import Target
from edgecomp.options import QuantizeOptions
from edgecomp.steps.dynamic import symbols_of
from edgecomp.steps.places import uses_gpu


def multiplies_values(
    model: ir.Model, options: QuantizeOptions, target: Target | None = None
) -> bool:
    """Whether attention is quantized.

    A GPU has one kernel for all of it in floats, and dynamic models have none for integers: both
    would compute what is quantized in more steps than what is not.

    Args:
        model: float.
        options: may name accelerators.
        target: device, None where it is not known yet.
    """
    return not uses_gpu(target, options) and not symbols_of(model)
