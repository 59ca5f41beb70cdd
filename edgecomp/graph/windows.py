"""Geometry of convolutions and poolings: kernel, strides, dilations and resolved padding."""

import dataclasses

import onnx_ir as ir


@dataclasses.dataclass(frozen=True)
class Window:
    """How windows lie over the spatial dimensions; each tuple has one entry per dimension.

    Attributes:
        kernel: extent of the window, in taps.
        strides: distance of neighbouring windows.
        dilations: distance of neighbouring taps.
        pads_begin, pads_end: elements added around the input, ``auto_pad`` resolved.
        input, output: spatial extents.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads_begin: tuple[int, ...]
    pads_end: tuple[int, ...]
    input: tuple[int, ...]
    output: tuple[int, ...]

    @property
    def fits(self) -> bool:
        """Whether every window lies within the padded input (``ceil_mode`` may overshoot)."""
        return all(
            (out - 1) * stride + (kernel - 1) * dilation + 1 <= begin + extent + end
            for out, stride, kernel, dilation, begin, extent, end in zip(
                self.output, self.strides, self.kernel, self.dilations,
                self.pads_begin, self.input, self.pads_end, strict=True,
            )
        )  # fmt: skip

    @property
    def padded(self) -> bool:
        """Whether any padding is added."""
        return any(self.pads_begin) or any(self.pads_end)


def window_of(node: ir.Node, input_shape: tuple[int, ...], kernel: tuple[int, ...]) -> Window:
    """The window of a Conv, MaxPool or AveragePool.

    Args:
        node: it; ``auto_pad``, ``ceil_mode`` and the other attributes are read.
        input_shape: of its first input, [N, C, spatial...].
        kernel: spatial extents of the window, which a Conv takes from its weights.
    """
    attributes = node.attributes
    spatial = tuple(input_shape[2:])
    rank = len(spatial)
    strides = tuple(attributes.get_ints("strides") or (1,) * rank)
    dilations = tuple(attributes.get_ints("dilations") or (1,) * rank)
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    auto = attributes.get_string("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        output = tuple(
            -(-extent // stride) for extent, stride in zip(spatial, strides, strict=True)
        )
        total = [
            max(0, (out - 1) * stride + span - extent)
            for out, stride, span, extent in zip(output, strides, reach, spatial, strict=True)
        ]
        less, more = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
        begin, end = (less, more) if auto == "SAME_UPPER" else (more, less)
        return Window(kernel, strides, dilations, begin, end, spatial, output)
    pads = tuple(attributes.get_ints("pads") or (0,) * (2 * rank))
    if auto == "VALID":
        pads = (0,) * (2 * rank)
    begin, end = pads[:rank], pads[rank:]
    round_up = bool(attributes.get_int("ceil_mode", 0))
    output = tuple(
        _windows(extent, span, stride, before, after, round_up=round_up)
        for extent, span, stride, before, after in zip(
            spatial, reach, strides, begin, end, strict=True
        )
    )
    return Window(kernel, strides, dilations, begin, end, spatial, output)


def _windows(
    extent: int, span: int, stride: int, before: int, after: int, *, round_up: bool
) -> int:
    free = extent + before + after - span
    count = (-(-free // stride) if round_up else free // stride) + 1
    # A window that would start in the padding after the input does not count.
    return count - 1 if round_up and (count - 1) * stride >= extent + before else count
