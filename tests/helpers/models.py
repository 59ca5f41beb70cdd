"""The real models of the acceptance tests; each traced once per test run."""

import functools
import importlib.util
import pathlib
import re

import numpy as np

REPOSITORY = pathlib.Path(__file__).parents[2]
DIGITS = REPOSITORY / "tests" / "data" / "digits"


def _example(name):
    path = REPOSITORY / "examples" / name
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def efficientnet():
    """EfficientNet-Lite0 with its ImageNet weights: onnx_ir model, as loaded."""
    from edgecomp.frontend.load import load_model

    module, args = _example("efficientnet_lite0/model.py").efficientnet_lite0()
    return load_model(module, args=args)


@functools.cache
def imagenet_images():
    """The 20 ImageNet images of foolbox: float32 [20, 3, 224, 224] in [-1, 1], labels."""
    from edgecomp.images import read_image
    from edgecomp.options import ImageOptions

    folder = _example("efficientnet_lite0/model.py").image_folder()
    options = ImageOptions(mean=(0.5,), std=(0.5,))
    images, labels = [], []
    for path in sorted(folder.glob("imagenet_*.jpg")):
        images.append(read_image(path, (1, 3, 224, 224), "float32", options))
        labels.append(int(re.search(r"_(\d+)\.", path.name).group(1)))
    return np.concatenate(images), np.array(labels)


@functools.cache
def digits(name="digits"):
    """The trained digits network ("digits" or "digits_pruned") as loaded."""
    import safetensors.torch
    import torch

    from edgecomp.frontend.load import load_model

    module = _example("digits/model.py").DigitsNet()
    module.load_state_dict(safetensors.torch.load_file(DIGITS / f"{name}.safetensors"))
    return load_model(module.eval(), args=(torch.zeros(1, 1, 28, 28),))


@functools.cache
def digits_data():
    """float32 images [N, 1, 28, 28]: 2,000 for tests with labels, 256 for calibration."""
    with np.load(DIGITS / "digits.npz") as data:
        scale = np.float32(1 / 255)
        return (
            data["test_images"][:, None] * scale,
            data["test_labels"],
            data["calibration_images"][:, None] * scale,
        )
