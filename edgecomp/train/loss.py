"""What a network is trained for where there are no labels: the float model's own answers."""

from collections.abc import Sequence
from typing import Any

import torch

from edgecomp.errors import Code, EdgecompError


def distillation_loss(
    outputs: Any, teacher_outputs: Any, *, temperature: float | None = None
) -> torch.Tensor:
    """How far outputs are from those of the float model; the mean over several outputs.

    Args:
        outputs: a tensor, or several.
        teacher_outputs: as many, of the same shapes.
        temperature: None for the squared difference in parts of the teacher's variance, which
            suits any output. A number for logits along the last axis: the Kullback-Leibler
            divergence of the softmaxes at this temperature, times its square (Hinton, Vinyals,
            Dean, "Distilling the Knowledge in a Neural Network", 2015).

    Raises:
        EdgecompError: USAGE where their number or shapes differ.
    """
    both = _tensors(outputs), _tensors(teacher_outputs)
    shapes = [[list(each.shape) for each in tensors] for tensors in both]
    if shapes[0] != shapes[1]:  # they would be broadcast
        raise EdgecompError(
            Code.USAGE,
            f"the model gives outputs of shapes {shapes[0]}, its teacher {shapes[1]}",
            hint="the teacher is the float model, or returns what it would",
        )
    losses = [_loss(*pair, temperature) for pair in zip(*both, strict=True)]
    return torch.stack(losses).mean()


def _tensors(value: Any) -> Sequence[torch.Tensor]:
    return [value] if isinstance(value, torch.Tensor) else list(value)


def _loss(own: torch.Tensor, wanted: torch.Tensor, temperature: float | None) -> torch.Tensor:
    wanted = wanted.detach()
    if temperature is None:
        scale = wanted.var(correction=0).clamp_min(torch.finfo(wanted.dtype).tiny)
        return (own - wanted).square().mean() / scale
    logs = torch.log_softmax(own / temperature, -1)
    expected = torch.log_softmax(wanted / temperature, -1)
    divergence = (expected.exp() * (expected - logs)).sum(-1).mean()
    return divergence * temperature**2
