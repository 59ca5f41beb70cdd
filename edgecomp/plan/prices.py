"""What parts of a program cost, for choices between forms of it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Price:
    """Time of one operation.

    Attributes:
        nodes: names of the ONNX nodes it stands for.
        modelled: seconds of one call on one core, by a model.
        measured: the same measured on the target, None where nobody did.
    """

    nodes: tuple[str, ...]
    modelled: float
    measured: float | None = None


@dataclasses.dataclass(frozen=True)
class ConversionPrice:
    """Time to store a float value in 8 bits, and to bring it back.

    Attributes:
        quantize, dequantize: seconds of a kernel call each.
        float_result: seconds that an integer product takes longer when its result stays
            float, so that nothing dequantizes it.
    """

    quantize: float
    dequantize: float
    float_result: float
