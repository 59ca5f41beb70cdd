"""Layers that several networks of the zoo share, and weights of ordinary size."""

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

_SETTLE_BATCH = 4


def conv_norm(inputs, outputs, kernel=3, stride=1, groups=1, activation=nn.ReLU):
    """Convolution that keeps the size (apart from its stride), normalisation, activation."""
    layers = [
        nn.Conv2d(
            inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class GlobalMean(nn.Module):
    """[N, C, ...] -> [N, C]."""

    def forward(self, x):
        return x.mean(tuple(range(2, x.ndim)))


class Residual(nn.Module):
    """x + layers(x), then an activation."""

    def __init__(self, layers, activation=None):
        super().__init__()
        self.layers = layers
        self.activation = activation or nn.Identity()

    def forward(self, x):
        return self.activation(x + self.layers(x))


class SqueezeExcite(nn.Module):
    """Channels scaled by a function of their means (Hu 2018)."""

    def __init__(self, channels, hidden, gate=nn.Hardsigmoid):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)
        self.gate = gate()

    def forward(self, x):
        means = x.mean((2, 3), keepdim=True)
        return x * self.gate(self.excite(F.relu(self.squeeze(means))))


def images(channels, height, width, count=1, seed=0):
    """Low frequencies with noise, as photos have them: float32 [count, C, H, W]."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((count, channels, height, width), generator=generator)
    coarse = torch.randn((count, channels, 8, 8), generator=generator)
    return F.interpolate(coarse, size=(height, width), mode="bilinear") + 0.3 * noise


def settled(module, sample):
    """The module in inference mode; its batch norms hold statistics of the sample."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    if norms:
        for layer in module.modules():
            if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        for norm in norms:
            norm.momentum = None  # the plain mean over all batches
        with torch.no_grad():
            module.train()(sample)
    return module.eval()
