"""Shapes of dense operations: small ones that hold every corner, and those of real models."""

from edgecomp.plan.finish import Activation
from edgecomp.plan.values import Halo
from helpers.dense import RELU, RELU6, Conv

SAME3 = {"k": (3, 3), "p": (1, 1, 1, 1)}
SAME5 = {"k": (5, 5), "p": (2, 2, 2, 2)}

SHAPES = (
    Conv(c=1, m=1, h=1, w=1),
    Conv(c=3, m=5, h=2, w=3),
    Conv(c=24, m=33, h=4, w=6, act=RELU),
    Conv(c=17, m=70, h=3, w=9, n=2),
    Conv(c=33, m=24, h=9, w=5, s=(2, 2), act=RELU6),
    Conv(c=64, m=16, h=1, w=1, n=3),
    Conv(c=5, m=130, h=1, w=13, y_halo=Halo(1, 1, 1, 1)),
    Conv(c=3, m=32, h=9, w=15, **SAME3, s=(2, 2), y_halo=Halo(0, 0, 1, 1)),
    Conv(c=5, m=17, h=6, w=6, **SAME3, n=2, x_halo=Halo(2, 3, 2, 2)),
    Conv(c=16, m=24, h=5, w=8, **SAME3, d=(1, 1), y_halo=Halo(2, 1, 1, 2)),
    Conv(c=4, m=8, h=9, w=9, k=(3, 3), p=(2, 2, 2, 2), d=(2, 2)),
    Conv(c=7, m=9, h=8, w=7, k=(2, 3), p=(0, 2, 1, 0), s=(2, 1), d=(1, 2)),
    Conv(c=1, m=8, h=8, w=8, **SAME5, s=(2, 2)),
    Conv(c=12, m=20, h=5, w=5, **SAME3, g=2, n=2),
    Conv(c=32, m=48, h=4, w=4, **SAME3, g=4, s=(2, 2)),
    Conv(c=6, m=12, h=4, w=5, k=(3, 1), p=(1, 0, 1, 0), g=6),
)

ACTIVATIONS = (
    None,
    RELU,
    RELU6,
    Activation("leakyrelu", 0.1),
    Activation("hardswish"),
    Activation("hardsigmoid", 0.2, 0.5),
)


def conv(c, m, size, k=1, s=1, act=RELU, **more):
    """A square convolution with padding that keeps the size."""
    p = k // 2
    return Conv(c=c, m=m, h=size, w=size, k=(k, k), s=(s, s), p=(p, p, p, p), act=act, **more)


#: (how often, case) of ResNet-50 at 224 x 224.
RESNET50 = (
    (1, conv(3, 64, 224, 7, 2)),
    (1, conv(64, 64, 56)),
    (3, conv(64, 64, 56, 3)),
    (4, conv(64, 256, 56, residual=True)),
    (2, conv(256, 64, 56)),
    (1, conv(256, 128, 56)),
    (1, conv(128, 128, 56, 3, 2)),
    (1, conv(256, 512, 56, 1, 2, act=None)),
    (4, conv(128, 512, 28, residual=True)),
    (3, conv(512, 128, 28)),
    (3, conv(128, 128, 28, 3)),
    (1, conv(512, 256, 28)),
    (1, conv(256, 256, 28, 3, 2)),
    (1, conv(512, 1024, 28, 1, 2, act=None)),
    (6, conv(256, 1024, 14, residual=True)),
    (5, conv(1024, 256, 14)),
    (5, conv(256, 256, 14, 3)),
    (1, conv(1024, 512, 14)),
    (1, conv(512, 512, 14, 3, 2)),
    (1, conv(1024, 2048, 14, 1, 2, act=None)),
    (3, conv(512, 2048, 7, residual=True)),
    (2, conv(2048, 512, 7)),
    (2, conv(512, 512, 7, 3)),
    (1, conv(2048, 1000, 1, act=None)),
)

#: MobileNetV2 at 224 x 224, without its depthwise layers.
MOBILENETV2 = (
    (1, conv(3, 32, 224, 3, 2, act=RELU6)),
    (1, conv(32, 16, 112, act=None)),
    (1, conv(16, 96, 112, act=RELU6)),
    (1, conv(96, 24, 56, act=None)),
    (2, conv(24, 144, 56, act=RELU6)),
    (1, conv(144, 24, 56, act=None, residual=True)),
    (1, conv(144, 32, 28, act=None)),
    (3, conv(32, 192, 28, act=RELU6)),
    (2, conv(192, 32, 28, act=None, residual=True)),
    (1, conv(192, 64, 14, act=None)),
    (4, conv(64, 384, 14, act=RELU6)),
    (3, conv(384, 64, 14, act=None, residual=True)),
    (1, conv(384, 96, 14, act=None)),
    (3, conv(96, 576, 14, act=RELU6)),
    (2, conv(576, 96, 14, act=None, residual=True)),
    (1, conv(576, 160, 7, act=None)),
    (3, conv(160, 960, 7, act=RELU6)),
    (2, conv(960, 160, 7, act=None, residual=True)),
    (1, conv(960, 320, 7, act=None)),
    (1, conv(320, 1280, 7, act=RELU6)),
    (1, conv(1280, 1000, 1, act=None)),
)

#: Encoder layer of MiniLM (hidden 384) at 128 tokens: rows are an image of height 1.
MINILM = (
    (24, Conv(c=384, m=384, h=1, w=128)),
    (6, Conv(c=384, m=1536, h=1, w=128)),
    (6, Conv(c=1536, m=384, h=1, w=128, residual=True)),
)
