"""A depthwise-separable network for 28 x 28 digits: 18.8 thousand parameters."""

import torch
from torch import nn


def _separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class DigitsNet(nn.Module):
    """float32 [N, 1, 28, 28] in [0, 1] to logits [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()
        )
        self.body = nn.Sequential(
            _separable(32, 64, 2), _separable(64, 96, 1), _separable(96, 96, 2)
        )
        self.classifier = nn.Linear(96, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify a batch."""
        features = self.body(self.stem(images))
        return self.classifier(features.mean((2, 3)))


def digits() -> tuple[nn.Module, tuple[torch.Tensor]]:
    """Untrained network and example input: ``edgecomp build examples/digits/model.py:digits``."""
    return DigitsNet().eval(), (torch.zeros(1, 1, 28, 28),)
