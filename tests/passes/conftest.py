"""EfficientNet-Lite0 traced once for the passes' tests, through the example's entry."""

import pathlib

import pytest

from edgecomp.frontend.load import load_model

MODEL = pathlib.Path(__file__).parents[2] / "examples" / "efficientnet_lite0" / "model.py"


@pytest.fixture(scope="session")
def lite0():
    reason = "the examples' packages are not installed (pip install 'edgecomp[examples]')"
    pytest.importorskip("torch", reason=reason)
    pytest.importorskip("efficientnet_lite_pytorch", reason=reason)
    return load_model(f"{MODEL}:efficientnet_lite0")
