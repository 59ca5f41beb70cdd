"""Networks that nobody looked at while kernels were tuned, by name.

Own definitions with seeded weights: times depend on shapes. Each has something that the tuned
models have not: squeeze-and-excite, groups, shuffles, necks, layer norms on images, odd sizes,
one-dimensional convolutions, rotary positions, products of one row.
"""

import dataclasses

import numpy as np
import torch
from benchmarks import networks, zoo_images, zoo_maps, zoo_sequences
from helpers import network_parts
from helpers.classifiers import synthetic_arrays
from torch import nn


def _image(channels, height, width):
    def sample(count=1, seed=0):
        arrays = synthetic_arrays((1, channels, height, width), count, seed)
        return torch.from_numpy(np.concatenate(arrays))

    return sample


def _noise(*shape):
    def sample(count=1, seed=0):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn((count * shape[0], *shape[1:]), generator=generator)

    return sample


def _tokens(length, words):
    def sample(count=1, seed=0):
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(0, words, (count, length), generator=generator)

    return sample


#: Name -> function that makes the module, function (count, seed) that makes inputs.
_ENTRIES = {
    "mobilenet_v3": (zoo_images.mobilenet_v3, _image(3, 224, 224)),
    "regnet": (zoo_images.regnet, _image(3, 160, 160)),
    "resnext": (zoo_images.resnext, _image(3, 112, 112)),
    "shufflenet": (networks.shufflenet_v2, _image(3, 224, 224)),
    "convnext": (zoo_images.convnext, _image(3, 224, 224)),
    "densenet": (zoo_images.densenet, _image(3, 112, 112)),
    "odd_channels": (zoo_images.odd_channels, _image(3, 35, 35)),
    "detector": (zoo_maps.Detector, _image(3, 256, 256)),
    "unet": (zoo_maps.UNet, _image(3, 128, 128)),
    "super_resolution": (zoo_maps.super_resolution, _image(1, 64, 64)),
    "vision_transformer": (zoo_sequences.VisionTransformer, _image(3, 224, 224)),
    "mixer": (zoo_sequences.Mixer, _image(3, 224, 224)),
    "language_model": (zoo_sequences.LanguageModel, _tokens(64, 4096)),
    "decode_step": (zoo_sequences.DecodeStep, _noise(9, 128, 256)),
    "tabular": (zoo_sequences.tabular, _noise(1, 64)),
    "sound": (zoo_sequences.sound, _noise(1, 1, 16000)),
}


def samples(name: str, count: int, seed: int = 2) -> list[torch.Tensor]:
    """Inputs of one run each, for calibration."""
    _, sample = _ENTRIES[name]
    return list(torch.chunk(sample(count, seed), count))


@dataclasses.dataclass(frozen=True)
class ZooNetwork:
    """A network of the zoo, as ``networks.Network`` has it."""

    name: str

    def module(self) -> nn.Module:
        """Seeded, in eval mode."""
        make, sample = _ENTRIES[self.name]
        torch.manual_seed(0)
        return network_parts.settled(make(), sample(4, 1))

    def inputs(self, count: int, seed: int) -> list[np.ndarray]:
        """Arrays of the only input."""
        return [sample.numpy() for sample in samples(self.name, count, seed)]


#: By name; the prefix tells them from networks of the same kind in ``networks``.
ZOO = {f"zoo_{name}": ZooNetwork(name) for name in _ENTRIES}
