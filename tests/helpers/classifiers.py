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

_VOCABULARY = 30522


def _conv_norm(inputs, outputs, kernel=3, stride=1, groups=1, activation=nn.ReLU):
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class InvertedResidual(nn.Module):
    """Expand, depthwise 3x3, project; a residual where the shape stays (Sandler 2018, fig. 4)."""

    def __init__(self, inputs, outputs, stride, expansion):
        super().__init__()
        hidden = inputs * expansion
        expand = [] if expansion == 1 else [_conv_norm(inputs, hidden, 1, activation=nn.ReLU6)]
        self.layers = nn.Sequential(
            *expand,
            _conv_norm(hidden, hidden, 3, stride, groups=hidden, activation=nn.ReLU6),
            _conv_norm(hidden, outputs, 1, activation=None),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.layers(x) if self.residual else self.layers(x)


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
        layers, channels = [_conv_norm(3, 32, 3, 2, activation=nn.ReLU6)], 32
        for expansion, outputs, blocks, stride in self.STAGES:
            for block in range(blocks):
                step = 1 if block else stride
                layers.append(InvertedResidual(channels, outputs, step, expansion))
                channels = outputs
        layers.append(_conv_norm(channels, 1280, 1, activation=nn.ReLU6))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(1280, classes)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1 to four times the width, and the shortcut."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        outputs = 4 * width
        self.layers = nn.Sequential(
            _conv_norm(inputs, width, 1),
            _conv_norm(width, width, 3, stride),
            _conv_norm(width, outputs, 1, activation=None),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = (
            nn.Identity() if same else _conv_norm(inputs, outputs, 1, stride, activation=None)
        )

    def forward(self, x):
        return F.relu(self.shortcut(x) + self.layers(x))


class ResNet50(nn.Module):
    """25.6 million parameters, 4.1 G multiply-adds at 224 x 224."""

    def __init__(self, classes=1000):
        super().__init__()
        layers, channels = [_conv_norm(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], 64
        for stage, blocks in enumerate((3, 4, 6, 3)):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                layers.append(Bottleneck(channels, 64 << stage, stride))
                channels = 256 << stage
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
                _conv_norm(width, width, 3, groups=width),
                _conv_norm(width, width, 1),
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
    module = make()
    _settle(module, shape)
    return module.eval()


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


def _settle(module, shape):
    """Weights of ordinary size; normalisation with the statistics of synthetic data."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms:
        return
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    for norm in norms:
        norm.momentum = None  # the plain mean over all batches
    images = synthetic_arrays(shape, count=4, seed=1)
    with torch.no_grad():
        module.train()(torch.from_numpy(np.concatenate(images)))
