"""Small networks with the structures of real ones: name -> (module, example inputs)."""

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it


class SqueezeExcite(nn.Module):
    """MobileNetV3 block: expansion, depthwise 5x5, squeeze and excite, hard-swish, residual."""

    def __init__(self, channels=24, hidden=56):
        super().__init__()
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.depthwise = nn.Conv2d(hidden, hidden, 5, 1, 2, groups=hidden)
        self.reduce, self.restore = nn.Conv2d(hidden, 16, 1), nn.Conv2d(16, hidden, 1)
        self.project = nn.Conv2d(hidden, channels, 1)

    def forward(self, x):
        y = F.hardswish(self.depthwise(F.hardswish(self.expand(x))))
        scale = F.adaptive_avg_pool2d(y, 1)
        scale = F.hardsigmoid(self.restore(F.relu(self.reduce(scale))))
        return x + self.project(y * scale)


class FeaturePyramid(nn.Module):
    """YOLO-like neck: strided convs, upsample, concat, SiLU."""

    def __init__(self):
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 12, 3, 2, 1), nn.Conv2d(12, 20, 3, 2, 1)
        self.lateral = nn.Conv2d(20, 12, 1)
        self.out = nn.Conv2d(24, 7, 3, 1, 1)

    def forward(self, x):
        a = F.silu(self.down1(x))
        b = F.silu(self.down2(a))
        up = F.interpolate(self.lateral(b), scale_factor=2.0, mode="nearest")
        return self.out(torch.cat([a, up], 1)), F.max_pool2d(b, 5, 1, 2)


class VisionTransformer(nn.Module):
    """Patches, one attention block with GELU, class token."""

    def __init__(self, width=32, heads=4):
        super().__init__()
        self.heads = heads
        self.patch = nn.Conv2d(3, width, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 17, width))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 50), nn.Linear(50, width)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        n, t, c = x.shape
        q, k, v = (
            self.qkv(self.norm1(x)).reshape(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        )
        a = torch.softmax(q @ k.transpose(2, 3) * (c // self.heads) ** -0.5, -1) @ v
        x = x + self.out(a.transpose(1, 2).reshape(n, t, c))
        return (x + self.down(F.gelu(self.up(self.norm2(x)))))[:, 0]


class ConvNext(nn.Module):
    """Depthwise 7x7, layer norm over channels, two products, scale, residual."""

    def __init__(self, channels=17):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, 1, 3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.up, self.down = nn.Linear(channels, 40), nn.Linear(40, channels)
        self.scale = nn.Parameter(torch.randn(channels))

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.down(F.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


class GroupedAndDilated(nn.Module):
    """Grouped and dilated convolutions, channel shuffle, odd channel counts, average pools."""

    def __init__(self):
        super().__init__()
        self.grouped = nn.Conv2d(6, 12, 3, 1, 1, groups=3)
        self.dilated = nn.Conv2d(12, 9, 3, 1, 2, dilation=2)
        self.asymmetric = nn.Conv2d(9, 5, (1, 7), (1, 2), (0, 3))

    def forward(self, x):
        y = F.relu6(self.grouped(x))
        n, c, h, w = y.shape
        y = y.reshape(n, 3, c // 3, h, w).transpose(1, 2).reshape(n, c, h, w)
        y = F.leaky_relu(self.dilated(y), 0.1)
        y = F.avg_pool2d(y, 3, 2, 1, count_include_pad=False)
        return torch.sigmoid(self.asymmetric(y))


class DenseAndShuffled(nn.Module):
    """Concatenations of concatenations, chunks, a shuffle, a pyramid of maxima, ConvTranspose."""

    def __init__(self, width=33):
        super().__init__()
        self.entry = nn.Conv2d(3, width, 3, 1, 1)
        self.grow1, self.grow2 = nn.Conv2d(width, 35, 3, 1, 1), nn.Conv2d(width + 35, 36, 1)
        self.depthwise = nn.Conv2d(52, 52, 3, 1, 1, groups=52)
        self.pool_entry, self.up = nn.Conv2d(104, 34, 1), nn.ConvTranspose2d(102, 5, 4, 2, 1)

    def forward(self, x):
        x = F.relu(self.entry(x))
        x = torch.cat([x, F.relu(self.grow1(x))], 1)
        x = torch.cat([x, F.relu(self.grow2(x))], 1)
        left, right = x.chunk(2, 1)
        x = torch.cat([left, F.relu(self.depthwise(right))], 1)
        n, c, h, w = x.shape
        x = x.reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        levels = [F.relu(self.pool_entry(x))]
        for _ in range(2):
            levels.append(F.max_pool2d(levels[-1], 3, 1, 1))
        return F.relu(self.up(torch.cat(levels, 1)))


class KeywordSpotter(nn.Module):
    """One-dimensional convolutions over time, then a small classifier."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv1d(10, 16, 9, 2, 4), nn.Conv1d(16, 16, 5, 1, 2, groups=16)
        self.c, self.head = nn.Conv1d(16, 24, 1), nn.Linear(24, 12)

    def forward(self, x):
        x = F.relu(self.c(F.relu(self.b(F.relu(self.a(x))))))
        return torch.log_softmax(self.head(x.amax(2)), 1)


class SuperResolution(nn.Module):
    """Convolution, PReLU, pixel shuffle, bilinear skip."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 5, 1, 2), nn.Conv2d(16, 12, 3, 1, 1)
        self.act = nn.PReLU(16)

    def forward(self, x):
        y = F.pixel_shuffle(self.b(self.act(self.a(x))), 2)
        return y + F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class TextEncoder(nn.Module):
    """Embedding, masked self-attention, mean over tokens, normalised output."""

    def __init__(self, width=24):
        super().__init__()
        self.embed = nn.Embedding(50, width)
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids):
        x = self.embed(ids)
        score = self.q(x) @ self.k(x).transpose(1, 2) / 5
        score = score.masked_fill((ids == 0)[:, None, :], -1e4)
        x = self.norm(x + torch.softmax(score, -1) @ self.v(x)).mean(1)
        return x / x.norm(dim=1, keepdim=True)


def _perceptron():
    return nn.Sequential(nn.Linear(13, 31), nn.Tanh(), nn.Linear(31, 3), nn.Softplus())


def networks():
    """All of them, seeded, in eval mode."""
    torch.manual_seed(0)
    image = torch.randn(1, 3, 32, 32)
    made = {
        "squeeze_excite": (SqueezeExcite(), (torch.randn(1, 24, 9, 9),)),
        "feature_pyramid": (FeaturePyramid(), (image,)),
        "vision_transformer": (VisionTransformer(), (image,)),
        "conv_next": (ConvNext(), (torch.randn(1, 17, 10, 11),)),
        "grouped_and_dilated": (GroupedAndDilated(), (torch.randn(2, 6, 15, 14),)),
        "dense_and_shuffled": (DenseAndShuffled(), (torch.randn(2, 3, 9, 7),)),
        "keyword_spotter": (KeywordSpotter(), (torch.randn(1, 10, 49),)),
        "super_resolution": (SuperResolution(), (torch.randn(1, 3, 12, 13),)),
        "text_encoder": (TextEncoder(), (torch.randint(0, 50, (2, 11)),)),
        "perceptron": (_perceptron(), (torch.randn(4, 13),)),
    }
    return {name: (module.eval(), args) for name, (module, args) in made.items()}


NAMES = [
    "squeeze_excite",
    "feature_pyramid",
    "vision_transformer",
    "conv_next",
    "grouped_and_dilated",
    "dense_and_shuffled",
    "keyword_spotter",
    "super_resolution",
    "text_encoder",
    "perceptron",
]
