"""Rounding that can be trained: one scale and zero point, and the gradients through them.

    m = round(clip(x / s, low - z, high - z))        x is stored as m + z and means m * s

Rounding passes gradients on as if it were not there, also that of the zero point. What follows
from it for m * s is the gradient of "Learned Step Size Quantization" (Esser, McKinstry, Bablani,
Appuswamy, Modha, ICLR 2020, equations 3 and 5) and, for the zero point, of "LSQ+" (Bhalgat, Lee,
Nagel, Blankevoort, Kwak, CVPR workshops 2020):

    inside:   d/dx = 1    d/ds = m - x / s     d/dz = 0
    clipped:  d/dx = 0    d/ds = bound - z     d/dz = -s

What is learned is not s and z but how they differ from where they start, in shares of it:
``s = s0 exp(growth)`` and ``z = z0 + shift * (high - low)``. One learning rate then suits scales
of any magnitude, and a scale stays positive. The paper multiplies the gradient of s by
``g = 1 / sqrt(numbers * largest)``; in terms of ``growth`` the same steps of plain gradient descent
take ``g / s0^2``. Optimizers that normalize gradients (Adam) are not changed by it.
"""

import math
from typing import Any

import torch

#: A scale grows or shrinks by at most exp of this: it stays a normal float32.
_MOST_GROWTH = 16.0


def round_through(x: torch.Tensor) -> torch.Tensor:
    """Round half to even; gradients go through as they are.

    The sum is exact: the difference is a multiple of x's last bit and no larger than a half.
    """
    return x + (torch.round(x) - x).detach()


class RoundTensor(torch.autograd.Function):  # type: ignore[misc]
    """``restore(store(x))`` with one scale and zero point, as one step, which reads memory less."""

    @staticmethod
    def forward(
        x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor, low: int, high: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The result, and what backward needs: x in steps, before and after rounding."""
        steps = x / scale
        rounded = torch.round(torch.clamp(steps, low - zero, high - zero))
        return rounded * scale, steps, rounded

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        """Keep it."""
        _, scale, zero, ctx.low, ctx.high = inputs
        _, steps, rounded = output
        ctx.mark_non_differentiable(steps, rounded)
        ctx.save_for_backward(steps, rounded, scale, zero)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor, *_: Any) -> tuple[Any, ...]:
        """The gradients of the module's head."""
        steps, rounded, scale, zero = ctx.saved_tensors
        inside = (steps >= ctx.low - zero) & (steps <= ctx.high - zero)
        kept = torch.where(inside, grad, 0.0)
        of_scale = (grad * rounded).sum() - (kept * steps).sum()
        of_zero = (kept.sum() - grad.sum()) * scale
        return kept, of_scale, of_zero, None, None

    @staticmethod
    def vmap(_: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
        """Scale and zero point are those of all samples."""
        return RoundTensor.apply(*inputs), (in_dims[0],) * 3


class Quantizer(torch.nn.Module):  # type: ignore[misc]
    """Scale and zero point that are learned.

    Args:
        scale: float32, of any shape: per tensor, channel or block.
        zero_point: of the same shape, as float32.
        low: least stored number.
        high: greatest stored number.
        numbers: how many numbers of a sample share one scale.
        learn_scale: whether the scale is a parameter.
        learn_zero_point: whether the zero point is.
    """

    def __init__(
        self,
        scale: torch.Tensor,
        zero_point: torch.Tensor,
        low: int,
        high: int,
        *,
        numbers: int = 1,
        learn_scale: bool = True,
        learn_zero_point: bool = False,
    ) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.register_buffer("first_scale", scale)
        self.register_buffer("first_zero_point", zero_point)
        self.growth = torch.nn.Parameter(torch.zeros_like(scale), requires_grad=learn_scale)
        self.shift = torch.nn.Parameter(
            torch.zeros_like(zero_point), requires_grad=learn_zero_point
        )
        balance = 1.0 / math.sqrt(max(1, numbers) * max(high, 1))
        if learn_scale:
            of_scale = balance / scale.double().square()
            self.growth.register_hook(
                lambda g: (g.double() * of_scale.to(g.device)).to(g.dtype)
            )
        if learn_zero_point:
            of_zero = balance / (scale.double() * (high - low)).square()
            self.shift.register_hook(lambda g: (g.double() * of_zero.to(g.device)).to(g.dtype))

    def scale(self) -> torch.Tensor:
        """The scale, of the shape it came in."""
        return self.first_scale * self.growth.clamp(-_MOST_GROWTH, _MOST_GROWTH).exp()

    def zero_point(self) -> torch.Tensor:
        """The zero point, a whole number within the stored numbers."""
        moved = self.first_zero_point + self.shift * float(self.high - self.low)
        return round_through(moved.clamp(self.low, self.high))

    def store(self, x: torch.Tensor, axis: int | None = None, block: int = 0) -> torch.Tensor:
        """Stored numbers of real ones, as floats."""
        scale, zero = self._spread(x, axis, block)
        return round_through(torch.clamp(x / scale, self.low - zero, self.high - zero)) + zero

    def restore(
        self, stored: torch.Tensor, axis: int | None = None, block: int = 0
    ) -> torch.Tensor:
        """Real numbers of stored ones."""
        scale, zero = self._spread(stored, axis, block)
        return (stored - zero) * scale

    def round(self, x: torch.Tensor) -> torch.Tensor:
        """Real numbers to those that are stored, with one scale."""
        scale, zero = self.scale().reshape(()), self.zero_point().reshape(())
        rounded: torch.Tensor = RoundTensor.apply(x, scale, zero, self.low, self.high)[0]
        return rounded

    def _spread(
        self, like: torch.Tensor, axis: int | None, block: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        both = self.scale(), self.zero_point()
        found = tuple(spread(each, like, axis, block) for each in both)
        return found[0], found[1]


def spread(
    parameters: torch.Tensor, like: torch.Tensor, axis: int | None, block: int
) -> torch.Tensor:
    """Scales or zero points in a shape that broadcasts with the numbers they belong to."""
    if parameters.numel() == 1 or axis is None:
        return parameters.reshape(())
    if block:
        whole = parameters.repeat_interleave(block, dim=axis)
        return whole.narrow(axis, 0, like.shape[axis])
    shape = [-1 if d == axis % like.ndim else 1 for d in range(like.ndim)]
    return parameters.reshape(shape)


class BiasQuantizer(torch.nn.Module):  # type: ignore[misc]
    """int32 numbers whose scale is that of a product's activation times that of its weights.

    Args:
        activation: of the product's first operand.
        weight: of its second.
    """

    def __init__(self, activation: Quantizer, weight: Quantizer) -> None:
        super().__init__()
        # In a list: the quantizers are parts of the network, not of its biases.
        self._factors = [activation, weight]

    def scale(self) -> torch.Tensor:
        """Of the shape of the weights' scale."""
        activation, weight = (each.scale() for each in self._factors)
        return activation.reshape(()) * weight

    def store(self, x: torch.Tensor, axis: int | None = None) -> torch.Tensor:
        """Stored numbers, in float64: their quotients have more digits than float32."""
        activation, weight = (each.scale().double() for each in self._factors)
        unit = spread(activation.reshape(()) * weight, x, axis, 0)
        limit = 2.0**31 - 1
        return round_through(torch.clamp(x.double() / unit, -limit, limit))

    def restore(self, stored: torch.Tensor, axis: int | None = None) -> torch.Tensor:
        """Real numbers of stored ones, float32."""
        scale = spread(self.scale(), stored, axis, 0)
        return stored.to(scale.dtype) * scale
