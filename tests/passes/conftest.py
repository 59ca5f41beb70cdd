"""EfficientNet-Lite0 traced once for the passes' tests."""

import pytest
from helpers.lite0 import torch_lite0

from edgecomp.frontend.load import load_model


@pytest.fixture(scope="session")
def lite0():
    module = torch_lite0()
    import torch

    return load_model(module, args=(torch.zeros(1, 3, 224, 224),))
