"""What a recipe decides about one layer."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerSettings:
    """How one node is quantized.

    Attributes:
        precision: name of ``options.PRECISIONS``; ``fp32`` stays float.
        calibration_method: how the ranges of the activations that it reads are chosen.
        calibration_percentile: for the method of that name.
        per_channel: one weight scale per output channel.
        bias_correction: whether its mean error is taken out of its bias.
        weight_correction: whether what its rounded weights cause is taken out of its bias.
        equalize: whether scales move between it and its neighbours.
        smooth_quant: strength with which scales of the activations that it reads move into its
            weights, as ``options.QuantizeOptions`` has it.
        weight_rounding: name of ``options.WEIGHT_ROUNDINGS``.
        group_size: inputs that share a scale of 4-bit weights; without a positive number all do.
        method: name of ``options.WEIGHT_METHODS``, by which weights of few bits are chosen.
        reason: why it stays float, "" where it does not.
        range_step: number of the step that chose the method, -1 for none: of two layers that
            read one value the one with the later step decides.
    """

    precision: str = "w8a8"
    calibration_method: str = "mse"
    calibration_percentile: float = 99.99
    per_channel: bool = True
    bias_correction: bool = False
    weight_correction: bool = False
    equalize: bool = False
    smooth_quant: str = ""
    weight_rounding: str = "nearest"
    group_size: int = 0
    method: str = "gptq"
    reason: str = ""
    range_step: int = -1
