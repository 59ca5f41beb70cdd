"""Networks that are compared with other runtimes: the five of the main table, and others.

Weights are random with a fixed seed (``helpers.classifiers.settled``): times depend on shapes, not
on what was learnt. Signal-to-noise ratios of such networks say that a conversion is right; they
are no accuracy.
"""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import torch
from helpers.classifiers import CLASSIFIERS, MobileNetV2, settled, synthetic_arrays
from helpers.network_parts import GroupedBottleneck, MobileBlock, conv_norm
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

IMAGE = (1, 3, 224, 224)


class Classifier(nn.Module):
    """Features, their mean over the image, one product."""

    def __init__(self, features, channels, classes=1000):
        super().__init__()
        self.features, self.classifier = features, nn.Linear(channels, classes)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def efficientnet_lite0():
    """4.7 million parameters, 0.39 G multiply-adds; no squeeze and excite, ReLU6."""
    #: expansion, kernel, channels, blocks, stride of the first (Tan 2019, table 1).
    stages = (
        (1, 3, 16, 1, 1),
        (6, 3, 24, 2, 2),
        (6, 5, 40, 2, 2),
        (6, 3, 80, 3, 2),
        (6, 5, 112, 3, 1),
        (6, 5, 192, 4, 2),
        (6, 3, 320, 1, 1),
    )
    layers, channels = [conv_norm(3, 32, 3, 2, activation=nn.ReLU6)], 32
    for expansion, kernel, outputs, blocks, stride in stages:
        for block in range(blocks):
            hidden, step = channels * expansion, 1 if block else stride
            layers.append(MobileBlock(channels, hidden, outputs, kernel, step, nn.ReLU6))
            channels = outputs
    layers.append(conv_norm(channels, 1280, 1, activation=nn.ReLU6))
    return Classifier(nn.Sequential(*layers), 1280)


def mobilenet_v3_small():
    """1.5 million parameters, 0.06 G multiply-adds (Howard 2019, table 2, one product at the end)."""
    swish, relu = nn.Hardswish, nn.ReLU
    #: kernel, hidden, outputs, squeeze, activation, stride.
    blocks = (
        (3, 16, 16, 8, relu, 2),
        (3, 72, 24, 0, relu, 2),
        (3, 88, 24, 0, relu, 1),
        (5, 96, 40, 24, swish, 2),
        (5, 240, 40, 64, swish, 1),
        (5, 240, 40, 64, swish, 1),
        (5, 120, 48, 32, swish, 1),
        (5, 144, 48, 40, swish, 1),
        (5, 288, 96, 72, swish, 2),
        (5, 576, 96, 144, swish, 1),
        (5, 576, 96, 144, swish, 1),
    )
    layers, channels = [conv_norm(3, 16, 3, 2, activation=swish)], 16
    for kernel, hidden, outputs, squeeze, activation, stride in blocks:
        block = MobileBlock(channels, hidden, outputs, kernel, stride, activation, squeeze)
        layers.append(block)
        channels = outputs
    layers.append(conv_norm(channels, 576, 1, activation=swish))
    return Classifier(nn.Sequential(*layers), 576)


class ShuffleUnit(nn.Module):
    """Half of the channels pass, half go through; both are shuffled (Ma 2018, fig. 3)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        half = outputs // 2
        self.stride, taken = stride, inputs if stride == 2 else half
        self.branch = nn.Sequential(
            conv_norm(taken, half, 1),
            conv_norm(half, half, 3, stride, half, activation=None),
            conv_norm(half, half, 1),
        )
        if stride == 2:
            self.shortcut = nn.Sequential(
                conv_norm(inputs, inputs, 3, 2, inputs, activation=None),
                conv_norm(inputs, half, 1),
            )

    def forward(self, x):
        if self.stride == 2:
            parts = [self.shortcut(x), self.branch(x)]
        else:
            kept, taken = x.chunk(2, 1)
            parts = [kept, self.branch(taken)]
        x = torch.cat(parts, 1)
        n, c, h, w = x.shape
        return x.reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def shufflenet_v2():
    """2.3 million parameters, 0.15 G multiply-adds."""
    layers, channels = [conv_norm(3, 24, 3, 2), nn.MaxPool2d(3, 2, 1)], 24
    for outputs, blocks in ((116, 4), (232, 8), (464, 4)):
        for block in range(blocks):
            layers.append(ShuffleUnit(channels, outputs, 1 if block else 2))
            channels = outputs
    layers.append(conv_norm(channels, 1024, 1))
    return Classifier(nn.Sequential(*layers), 1024)


def regnet_x400():
    """5.5 million parameters, 0.4 G multiply-adds, groups of 16 channels (Radosavovic 2020)."""
    layers, channels = [conv_norm(3, 32, 3, 2)], 32
    for outputs, blocks in ((32, 1), (64, 2), (160, 7), (400, 12)):
        for block in range(blocks):
            layers.append(GroupedBottleneck(channels, outputs, outputs, 1 if block else 2, 16))
            channels = outputs
    return Classifier(nn.Sequential(*layers), channels)


class Encoder(nn.Module):
    """Attention and feed-forward, each with its norm before it (Dosovitskiy 2021)."""

    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        n, tokens, width = x.shape
        y = self.qkv(self.norm1(x)).reshape(n, tokens, 3, self.heads, width // self.heads)
        q, k, v = (part.transpose(1, 2) for part in y.unbind(2))
        y = torch.softmax(q @ k.transpose(2, 3) * self.scale, -1) @ v
        x = x + self.out(y.transpose(1, 2).reshape(n, tokens, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class VisionTransformer(nn.Module):
    """Patches of 16 x 16, width 192, 12 layers, the mean over patches."""

    def __init__(self, size=224, width=192, heads=3, layers=12, classes=1000):
        super().__init__()
        self.patch = nn.Conv2d(3, width, 16, 16)
        self.positions = nn.Parameter(0.02 * torch.randn(1, (size // 16) ** 2, width))
        self.layers = nn.Sequential(*(Encoder(width, heads, 4 * width) for _ in range(layers)))
        self.norm, self.classifier = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2) + self.positions
        return self.classifier(self.norm(self.layers(x)).mean(1))


class Detector(nn.Module):
    """A backbone with SiLU, a neck that goes up and down again, a head per scale."""

    def __init__(self, width=24, outputs=85):
        super().__init__()
        silu, w = nn.SiLU, width
        self.stem = conv_norm(3, w, 3, 2, activation=silu)
        widths = (w, 2 * w, 4 * w, 8 * w, 12 * w)
        self.down = nn.ModuleList(
            nn.Sequential(
                conv_norm(a, b, 3, 2, activation=silu), conv_norm(b, b, activation=silu)
            )
            for a, b in itertools.pairwise(widths)
        )
        self.lateral = nn.ModuleList(
            conv_norm(a + b, b, 1, activation=silu)
            for a, b in ((widths[4], widths[3]), (widths[3], widths[2]))
        )
        self.heads = nn.ModuleList(nn.Conv2d(a, outputs, 1) for a in widths[2:])

    def forward(self, x):
        x, maps = self.stem(x), []
        for stage in self.down:
            x = stage(x)
            maps.append(x)
        p5 = F.max_pool2d(maps[3], 5, 1, 2)
        up = F.interpolate(p5, scale_factor=2.0, mode="nearest")
        p4 = self.lateral[0](torch.cat([up, maps[2]], 1))
        up = F.interpolate(p4, scale_factor=2.0, mode="nearest")
        p3 = self.lateral[1](torch.cat([up, maps[1]], 1))
        return tuple(head(p) for head, p in zip(self.heads, (p3, p4, p5), strict=True))


class Residual(nn.Module):
    """Two 3x3 convolutions and the shortcut."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = conv_norm(inputs, outputs, 3, stride)
        self.second = conv_norm(outputs, outputs, activation=None)
        self.shortcut = (
            nn.Identity()
            if stride == 1
            else conv_norm(inputs, outputs, 1, stride, activation=None)
        )

    def forward(self, x):
        return F.relu(self.second(self.first(x)) + self.shortcut(x))


def resnet8():
    """Three residual stages at 32 x 32, 0.012 G multiply-adds (MLPerf Tiny)."""
    stages = [conv_norm(3, 16), Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 64, 2)]
    return Classifier(nn.Sequential(*stages), 64, 10)


def autoencoder():
    """Products alone: 640 to 8 and back, 0.26 M multiply-adds (MLPerf Tiny)."""
    widths = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640]
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def odd_channels():
    """Numbers of channels that no vector divides, on images of 7 x 7."""
    layers = [conv_norm(37, 83, 3), conv_norm(83, 83, 5, groups=83), conv_norm(83, 61, 1)]
    layers += [conv_norm(61, 97, 3), conv_norm(97, 45, 3, 2), conv_norm(45, 131, 1)]
    return Classifier(nn.Sequential(*layers), 131, 17)


@dataclasses.dataclass(frozen=True)
class Network:
    """One model.

    Attributes:
        make: gives the module.
        shape: of its only input.
        words: whether that holds token ids.
    """

    make: Callable
    shape: tuple
    words: bool = False

    def module(self):
        """Seeded, in eval mode."""
        return settled(self.make, self.shape)

    def inputs(self, count, seed):
        """Arrays of the input's shape."""
        if self.words or len(self.shape) == len(IMAGE):
            return list(synthetic_arrays(self.shape, count, seed))
        generator = np.random.default_rng(seed)
        return [generator.standard_normal(self.shape, np.float32) for _ in range(count)]


#: What every change is measured on.
MAIN = {
    "kws_dscnn": Network(*CLASSIFIERS["keyword_net"]),
    "mobilenetv2": Network(MobileNetV2, IMAGE),
    "efficientnet_lite0": Network(efficientnet_lite0, IMAGE),
    "minilm_l6_s128": Network(*CLASSIFIERS["sentence_encoder"], words=True),
    "resnet50": Network(*CLASSIFIERS["resnet50"]),
}
#: Other structures, so that nothing is tuned to the five.
FURTHER = {
    "mobilenet_v3_small": Network(mobilenet_v3_small, IMAGE),
    "shufflenet_v2": Network(shufflenet_v2, IMAGE),
    "regnet_x400": Network(regnet_x400, IMAGE),
    "vit_tiny": Network(VisionTransformer, IMAGE),
    "detector": Network(Detector, (1, 3, 256, 256)),
    "resnet8": Network(resnet8, (1, 3, 32, 32)),
    "autoencoder": Network(autoencoder, (1, 640)),
    "odd_channels": Network(odd_channels, (1, 37, 7, 7)),
}
NETWORKS = MAIN | FURTHER
