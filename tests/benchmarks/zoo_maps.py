"""Networks whose result is a map or a list of boxes: necks, upsampling, concatenation."""

import torch
from helpers.network_parts import Residual, conv_norm
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

_CLASSES = 80


class CrossStage(nn.Module):
    """Two branches, one of them with bottlenecks, joined (Wang 2020), with SiLU."""

    def __init__(self, inputs, outputs, count, *, residual=True):
        super().__init__()
        half = outputs // 2
        self.left, self.right = (conv_norm(inputs, half, 1, activation=nn.SiLU) for _ in "lr")
        blocks = [
            nn.Sequential(
                conv_norm(half, half, 1, activation=nn.SiLU),
                conv_norm(half, half, 3, activation=nn.SiLU),
            )
            for _ in range(count)
        ]
        self.blocks = nn.Sequential(*(Residual(b) if residual else b for b in blocks))
        self.join = conv_norm(outputs, outputs, 1, activation=nn.SiLU)

    def forward(self, x):
        return self.join(torch.cat([self.blocks(self.left(x)), self.right(x)], 1))


class SpatialPyramid(nn.Module):
    """Three 5x5 maxima in a row, joined."""

    def __init__(self, width):
        super().__init__()
        self.entry = conv_norm(width, width // 2, 1, activation=nn.SiLU)
        self.join = conv_norm(2 * width, width, 1, activation=nn.SiLU)

    def forward(self, x):
        levels = [self.entry(x)]
        for _ in range(3):
            levels.append(F.max_pool2d(levels[-1], 5, 1, 2))
        return self.join(torch.cat(levels, 1))


class Detector(nn.Module):
    """Backbone, neck that goes up and down again, three heads; boxes [N, boxes, 85]."""

    def __init__(self, width=16):
        super().__init__()
        w1, w2, w3, w4, w5 = (width << n for n in range(5))

        def step(inputs, outputs):
            return conv_norm(inputs, outputs, 3, 2, activation=nn.SiLU)

        def point(inputs, outputs):
            return conv_norm(inputs, outputs, 1, activation=nn.SiLU)

        self.stem = nn.Sequential(
            conv_norm(3, w1, 6, 2, activation=nn.SiLU), step(w1, w2), CrossStage(w2, w2, 1)
        )
        self.stage3 = nn.Sequential(step(w2, w3), CrossStage(w3, w3, 2))
        self.stage4 = nn.Sequential(step(w3, w4), CrossStage(w4, w4, 3))
        self.stage5 = nn.Sequential(step(w4, w5), CrossStage(w5, w5, 1), SpatialPyramid(w5))
        self.point5, self.up4 = point(w5, w4), CrossStage(w5, w4, 1, residual=False)
        self.point4, self.up3 = point(w4, w3), CrossStage(w4, w3, 1, residual=False)
        self.step3, self.down4 = step(w3, w3), CrossStage(w4, w4, 1, residual=False)
        self.step4, self.down5 = step(w4, w4), CrossStage(w5, w5, 1, residual=False)
        self.heads = nn.ModuleList(nn.Conv2d(w, _CLASSES + 5, 1) for w in (w3, w4, w5))

    def forward(self, x):
        x3 = self.stage3(self.stem(x))
        x4 = self.stage4(x3)
        p5 = self.point5(self.stage5(x4))
        p4 = self.point4(self.up4(torch.cat([F.interpolate(p5, scale_factor=2), x4], 1)))
        y3 = self.up3(torch.cat([F.interpolate(p4, scale_factor=2), x3], 1))
        y4 = self.down4(torch.cat([self.step3(y3), p4], 1))
        y5 = self.down5(torch.cat([self.step4(y4), p5], 1))
        boxes = [h(y).flatten(2) for h, y in zip(self.heads, (y3, y4, y5), strict=True)]
        return torch.cat(boxes, 2).transpose(1, 2).sigmoid()


class UNet(nn.Module):
    """Three levels down, ConvTranspose and concatenation on the way up, one mask."""

    def __init__(self, width=16, levels=3):
        super().__init__()

        def double(inputs, outputs):
            return nn.Sequential(conv_norm(inputs, outputs), conv_norm(outputs, outputs))

        widths = [width << n for n in range(levels + 1)]
        self.down = nn.ModuleList(
            double(i, o) for i, o in zip([3, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * w, w, 2, 2) for w in reversed(widths[:-1])
        )
        self.join = nn.ModuleList(double(2 * w, w) for w in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, x):
        kept = []
        for level, layers in enumerate(self.down):
            x = layers(F.max_pool2d(x, 2) if level else x)
            kept.append(x)
        for up, join, side in zip(self.up, self.join, reversed(kept[:-1]), strict=True):
            x = join(torch.cat([side, up(x)], 1))
        return self.head(x).sigmoid()


def super_resolution():
    """Three times the size by rearranged channels (Shi 2016)."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 5, padding=2),
        nn.Tanh(),
        nn.Conv2d(64, 32, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(32, 9, 3, padding=1),
        nn.PixelShuffle(3),
    )
