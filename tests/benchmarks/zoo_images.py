"""Convolutional networks of other families than those that kernels were tuned on."""

import torch
from helpers.network_parts import (
    GlobalMean,
    GroupedBottleneck,
    MobileBlock,
    Residual,
    conv_norm,
)
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

#: kernel, hidden, outputs, squeeze-and-excite, activation, stride (Howard 2019, table 1).
_MOBILENET_V3_LARGE = (
    (3, 16, 16, False, nn.ReLU, 1),
    (3, 64, 24, False, nn.ReLU, 2),
    (3, 72, 24, False, nn.ReLU, 1),
    (5, 72, 40, True, nn.ReLU, 2),
    (5, 120, 40, True, nn.ReLU, 1),
    (5, 120, 40, True, nn.ReLU, 1),
    (3, 240, 80, False, nn.Hardswish, 2),
    (3, 200, 80, False, nn.Hardswish, 1),
    (3, 184, 80, False, nn.Hardswish, 1),
    (3, 184, 80, False, nn.Hardswish, 1),
    (3, 480, 112, True, nn.Hardswish, 1),
    (3, 672, 112, True, nn.Hardswish, 1),
    (5, 672, 160, True, nn.Hardswish, 2),
    (5, 960, 160, True, nn.Hardswish, 1),
    (5, 960, 160, True, nn.Hardswish, 1),
)


def mobilenet_v3():
    """MobileNetV3-large, 0.22 G multiply-adds at 224 x 224."""
    layers, channels = [conv_norm(3, 16, 3, 2, activation=nn.Hardswish)], 16
    for kernel, hidden, outputs, excite, activation, stride in _MOBILENET_V3_LARGE:
        squeeze = max(8, hidden // 4) if excite else 0
        block = MobileBlock(channels, hidden, outputs, kernel, stride, activation, squeeze)
        layers.append(block)
        channels = outputs
    return nn.Sequential(
        *layers,
        conv_norm(channels, 960, 1, activation=nn.Hardswish),
        GlobalMean(),
        nn.Linear(960, 1280),
        nn.Hardswish(),
        nn.Linear(1280, 1000),
    )


def regnet():
    """RegNetX-600MF's widths with groups of 24 channels."""
    layers, channels = [conv_norm(3, 32, 3, 2)], 32
    for width, blocks in ((48, 1), (96, 3), (240, 5), (528, 7)):
        for block in range(blocks):
            layers.append(GroupedBottleneck(channels, width, width, 1 if block else 2, 24))
            channels = width
    return nn.Sequential(*layers, GlobalMean(), nn.Linear(channels, 1000))


def resnext():
    """Groups of 4 to 16 channels, as ResNeXt-50 32x4d has them, one block a stage."""
    layers, channels = [conv_norm(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], 64
    for stage in range(3):
        width = 128 << stage
        block = GroupedBottleneck(channels, width, 2 * width, 2 if stage else 1, 4 << stage)
        layers.append(block)
        channels = 2 * width
    return nn.Sequential(*layers, GlobalMean(), nn.Linear(channels, 100))


class ConvNextBlock(nn.Module):
    """7x7 depthwise, layer norm over channels, two products with GELU, scale, residual."""

    def __init__(self, width):
        super().__init__()
        self.spatial = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.5))

    def forward(self, x):
        y = self.norm(self.spatial(x).permute(0, 2, 3, 1))
        y = self.scale * self.down(F.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


class ImageLayerNorm(nn.LayerNorm):
    """Layer norm over the channels of [N, C, H, W]."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def convnext():
    """ConvNeXt-atto's widths (40 to 320), 0.55 G multiply-adds at 224 x 224."""
    widths = (40, 80, 160, 320)
    layers = [nn.Conv2d(3, widths[0], 4, 4), ImageLayerNorm(widths[0], eps=1e-6)]
    for stage, (width, blocks) in enumerate(zip(widths, (2, 2, 6, 2), strict=True)):
        if stage:
            layers.append(ImageLayerNorm(widths[stage - 1], eps=1e-6))
            layers.append(nn.Conv2d(widths[stage - 1], width, 2, 2))
        layers += [ConvNextBlock(width) for _ in range(blocks)]
    return nn.Sequential(
        *layers, GlobalMean(), nn.LayerNorm(widths[-1]), nn.Linear(widths[-1], 1000)
    )


class DenseLayer(nn.Module):
    """Norm, 1x1, norm, 3x3; its channels are added to those that came in (Huang 2017)."""

    def __init__(self, inputs, growth):
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(4 * growth)
        self.squeeze = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.grow = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x):
        y = self.squeeze(F.relu(self.norm1(x)))
        return torch.cat([x, self.grow(F.relu(self.norm2(y)))], 1)


def densenet():
    """Three dense blocks of growth 32 with halving transitions."""
    layers, channels = [conv_norm(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], 64
    for block, count in enumerate((6, 8, 10)):
        if block:
            half = channels // 2
            layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, half, 1)]
            layers.append(nn.AvgPool2d(2))
            channels = half
        for _ in range(count):
            layers.append(DenseLayer(channels, 32))
            channels += 32
    return nn.Sequential(
        *layers, nn.BatchNorm2d(channels), nn.ReLU(), GlobalMean(), nn.Linear(channels, 1000)
    )


def odd_channels():
    """No width divides a vector and no image a tile: 17, 37, 53 channels of 35 x 35."""
    wide = nn.Sequential(conv_norm(37, 37), conv_norm(37, 37, activation=None))
    deep = nn.Sequential(conv_norm(53, 53), conv_norm(53, 53, activation=None))
    return nn.Sequential(
        conv_norm(3, 17, 5),
        conv_norm(17, 37, 3, 2),
        Residual(wide, nn.ReLU()),
        conv_norm(37, 53, 3, 2, activation=nn.LeakyReLU),
        Residual(deep, nn.ReLU()),
        conv_norm(53, 53, 5, 1, 53),
        conv_norm(53, 101, 1, activation=nn.ELU),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(101, 11),
    )
