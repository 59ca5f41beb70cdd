"""Layers that several networks of tests and benchmarks share, and weights of ordinary size."""

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it


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

    def __init__(self, channels, hidden):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)

    def forward(self, x):
        means = F.adaptive_avg_pool2d(x, 1)
        return x * F.hardsigmoid(self.excite(F.relu(self.squeeze(means))))


class MobileBlock(nn.Module):
    """Expand, depthwise, perhaps squeeze and excite, project; a residual where the shape stays.

    Sandler 2018, fig. 4, and Howard 2019, fig. 4.
    """

    def __init__(self, inputs, hidden, outputs, kernel, stride, activation, squeeze=0):
        super().__init__()
        layers = []
        if hidden != inputs:
            layers.append(conv_norm(inputs, hidden, 1, activation=activation))
        layers.append(conv_norm(hidden, hidden, kernel, stride, hidden, activation))
        if squeeze:
            layers.append(SqueezeExcite(hidden, squeeze))
        layers.append(conv_norm(hidden, outputs, 1, activation=None))
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.layers(x) if self.residual else self.layers(x)


class GroupedBottleneck(nn.Module):
    """1x1, grouped 3x3 with the stride, 1x1, and the shortcut (Xie 2017, Radosavovic 2020)."""

    def __init__(self, inputs, width, outputs, stride, group_width):
        super().__init__()
        self.layers = nn.Sequential(
            conv_norm(inputs, width, 1),
            conv_norm(width, width, 3, stride, width // group_width),
            conv_norm(width, outputs, 1, activation=None),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = (
            nn.Identity() if same else conv_norm(inputs, outputs, 1, stride, activation=None)
        )

    def forward(self, x):
        return F.relu(self.shortcut(x) + self.layers(x))


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
