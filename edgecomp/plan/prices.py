"""What parts of a program cost, for choices between forms of it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Price:
    """Time of one operation.

    Attributes:
        nodes: names of the ONNX nodes it stands for.
        seconds: of one call on one core.
        measured: whether it was measured on the target, else modelled.
    """

    nodes: tuple[str, ...]
    seconds: float
    measured: bool


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
