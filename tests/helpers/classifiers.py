"""Networks of the sizes people deploy, without their trained weights.

Times depend on shapes, not on what was learnt, as long as the numbers are ordinary: weights are
Kaiming-initialised and seeded, and batch normalisation holds statistics measured on synthetic
data, so that no channel is dead, overflows or sinks into denormal numbers.
"""

import functools

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from helpers import network_parts
from helpers.network_parts import GroupedBottleneck, MobileBlock, conv_norm

_VOCABULARY = 30522


class MobileNetV2(nn.Module):
    """Width 1.0: 3.5 million parameters, 0.30 G multiply-adds at 224 x 224."""

    #: expansion, channels, blocks, stride of the first (Sandler 2018, table 2).
    STAGES = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(self, classes=1000):
        super().__init__()
        layers, channels = [conv_norm(3, 32, 3, 2, activation=nn.ReLU6)], 32
        for expansion, outputs, blocks, stride in self.STAGES:
            for block in range(blocks):
                step = 1 if block else stride
                hidden = channels * expansion
                layers.append(MobileBlock(channels, hidden, outputs, 3, step, nn.ReLU6))
                channels = outputs
        layers.append(conv_norm(channels, 1280, 1, activation=nn.ReLU6))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(1280, classes)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class ResNet50(nn.Module):
    """25.6 million parameters, 4.1 G multiply-adds at 224 x 224."""

    def __init__(self, classes=1000):
        super().__init__()
        layers, channels = [conv_norm(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], 64
        for stage, blocks in enumerate((3, 4, 6, 3)):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                width, outputs = 64 << stage, 256 << stage
                layers.append(GroupedBottleneck(channels, width, outputs, stride, width))
                channels = outputs
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class KeywordNet(nn.Module):
    """Depthwise-separable keyword spotting over 49 x 10 coefficients, 12 words (Zhang 2017)."""

    def __init__(self, width=64, classes=12):
        super().__init__()
        self.pad = nn.ZeroPad2d((1, 1, 4, 5))
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, (10, 4), 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        pairs = [
            layer
            for _ in range(4)
            for layer in (
                conv_norm(width, width, 3, groups=width),
                conv_norm(width, width, 1),
            )
        ]
        self.body = nn.Sequential(*pairs)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x):
        return self.classifier(self.body(self.stem(self.pad(x))).mean((2, 3)))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each with its norm behind the sum, as BERT has them."""

    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x):
        batch, tokens, width = x.shape

        def split(y):
            return y.reshape(batch, tokens, self.heads, -1).transpose(1, 2)

        q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
        attention = torch.softmax(q @ k.transpose(2, 3) * self.scale, -1) @ v
        x = self.norm1(x + self.out(attention.transpose(1, 2).reshape(batch, tokens, width)))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class SentenceEncoder(nn.Module):
    """The shape of MiniLM-L6: 6 layers of width 384, 12 heads, mean over 128 tokens."""

    def __init__(self, layers=6, width=384, heads=12, hidden=1536, tokens=128):
        super().__init__()
        self.words = nn.Embedding(_VOCABULARY, width)
        self.positions = nn.Parameter(torch.randn(1, tokens, width))
        self.norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(
            *(EncoderLayer(width, heads, hidden) for _ in range(layers))
        )

    def forward(self, ids):
        return self.layers(self.norm(self.words(ids) + self.positions)).mean(1)


#: Name -> class, shape of its input.
CLASSIFIERS = {
    "mobilenet_v2": (MobileNetV2, (1, 3, 224, 224)),
    "resnet50": (ResNet50, (1, 3, 224, 224)),
    "keyword_net": (KeywordNet, (1, 1, 49, 10)),
    "sentence_encoder": (SentenceEncoder, (1, 128)),
}


@functools.cache
def classifier(name):
    """onnx_ir model, as loaded."""
    from edgecomp.frontend.load import load_model

    module = settled(*CLASSIFIERS[name])
    return load_model(module, args=(torch.from_numpy(synthetic_inputs(name)[0]),))


def settled(make, shape):
    """The module in eval mode, seeded, with weights and statistics of ordinary size."""
    torch.manual_seed(0)
    images = np.concatenate(synthetic_arrays(shape, count=4, seed=1))
    return network_parts.settled(make(), torch.from_numpy(images))


def synthetic_inputs(name, count=1, seed=0):
    """Arrays: low frequencies with noise, as photos have them, or token ids."""
    return synthetic_arrays(CLASSIFIERS[name][1], count, seed)


def synthetic_arrays(shape, count=1, seed=0):
    """The same of a shape: [N, T] is of token ids, any other of numbers."""
    generator = torch.Generator().manual_seed(seed)
    if len(shape) == 2:
        tokens = torch.randint(0, _VOCABULARY, (count, *shape), generator=generator)
        return tokens.numpy().astype(np.int64)
    noise = torch.randn((count, *shape), generator=generator)
    coarse = torch.randn((count * shape[0], shape[1], 8, 8), generator=generator)
    smooth = F.interpolate(coarse, size=shape[2:], mode="bilinear").reshape(noise.shape)
    return (smooth + 0.3 * noise).numpy()
