"""Networks of tokens, rows and sound."""

import torch
from benchmarks.networks import Encoder
from helpers.network_parts import GlobalMean, Residual
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it


def split_heads(x, heads):
    """[N, T, W] -> [N, heads, T, W / heads]."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


class VisionTransformer(nn.Module):
    """ViT-tiny: patches of 16, width 192, a class token (Dosovitskiy 2021)."""

    def __init__(self, width=192, heads=3, layers=12):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 197, width))
        self.layers = nn.Sequential(*(Encoder(width, heads, 4 * width) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token, x], 1) + self.positions
        return self.head(self.norm(self.layers(x))[:, 0])


class MixerLayer(nn.Module):
    """A product across tokens and one across channels (Tolstikhin 2021)."""

    def __init__(self, tokens, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(
            nn.Linear(tokens, width // 2), nn.GELU(), nn.Linear(width // 2, tokens)
        )
        self.channels = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class Mixer(nn.Module):
    """196 patches of width 256."""

    def __init__(self, width=256, layers=4):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.layers = nn.Sequential(*(MixerLayer(196, width) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.layers(x)).mean(1))


class RootMeanSquareNorm(nn.Module):
    """x divided by its root mean square, times a weight (Zhang 2019)."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


def rotate(x, cosine, sine):
    """Rotary positions (Su 2021), halves of the head against each other."""
    left, right = x.chunk(2, -1)
    return x * cosine + torch.cat([-right, left], -1) * sine


class CausalLayer(nn.Module):
    """Rotary causal attention and a gated feed-forward, as LLaMA has them."""

    def __init__(self, width, heads, tokens):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )
        hidden = 8 * width // 3 // 32 * 32
        self.gate, self.up = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.down = nn.Linear(hidden, width, bias=False)
        self.norm1, self.norm2 = RootMeanSquareNorm(width), RootMeanSquareNorm(width)
        depth = width // heads
        rates = 10000.0 ** (-torch.arange(0, depth, 2) / depth)
        angles = torch.outer(torch.arange(tokens), rates).repeat(1, 2)
        self.register_buffer("cosine", angles.cos())
        self.register_buffer("sine", angles.sin())

    def forward(self, x):
        y = self.norm1(x)
        q, k, v = (split_heads(f(y), self.heads) for f in (self.query, self.key, self.value))
        q, k = rotate(q, self.cosine, self.sine), rotate(k, self.cosine, self.sine)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class LanguageModel(nn.Module):
    """Ids [1, 64] -> logits of the next token; width 256, 4 layers, 4096 words."""

    def __init__(self, width=256, heads=4, layers=4, words=4096, tokens=64):
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.layers = nn.Sequential(
            *(CausalLayer(width, heads, tokens) for _ in range(layers))
        )
        self.norm, self.head = RootMeanSquareNorm(width), nn.Linear(width, words, bias=False)

    def forward(self, ids):
        return self.head(self.norm(self.layers(self.words(ids)))[:, -1])


class DecodeStep(nn.Module):
    """One token against the keys and values of those before it.

    The input is [1 + 2 * layers, cached tokens, width]: the token in row 0 of the first part,
    then the keys and values of each layer.
    """

    def __init__(self, width=256, heads=4, layers=4, words=4096):
        super().__init__()
        self.heads = heads
        self.layers = nn.ModuleList(Encoder(width, heads, 4 * width) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words)

    def forward(self, state):
        x = state[0:1, 0:1]
        for number, layer in enumerate(self.layers):
            q, k, v = layer.qkv(layer.norm1(x)).chunk(3, -1)
            k = torch.cat([state[2 * number + 1][None], k], 1)
            v = torch.cat([state[2 * number + 2][None], v], 1)
            q, k, v = (split_heads(each, self.heads) for each in (q, k, v))
            y = torch.softmax(q @ k.transpose(2, 3) * q.shape[-1] ** -0.5, -1) @ v
            x = x + layer.out(y.transpose(1, 2).flatten(2))
            x = x + layer.down(F.gelu(layer.up(layer.norm2(x))))
        return self.head(self.norm(x))[:, 0]


def tabular():
    """64 numbers to 10 classes through 128."""
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def sound():
    """One second at 16 kHz: strided and dilated 1-D convolutions (Dai 2017, van den Oord 2016)."""

    def conv(inputs, outputs, kernel, stride=1, dilation=1):
        pad = dilation * (kernel - 1) // 2
        layer = nn.Conv1d(inputs, outputs, kernel, stride, pad, dilation, bias=False)
        return nn.Sequential(layer, nn.BatchNorm1d(outputs), nn.ReLU())

    return nn.Sequential(
        conv(1, 64, 80, 4),
        nn.MaxPool1d(4),
        conv(64, 64, 3),
        nn.MaxPool1d(4),
        conv(64, 128, 3),
        *(Residual(conv(128, 128, 3, dilation=1 << n)) for n in range(5)),
        nn.MaxPool1d(4),
        conv(128, 256, 3),
        GlobalMean(),
        nn.Linear(256, 35),
    )
