"""The digits network of examples/digits on 2,000 images that it was not trained on."""

import functools

import numpy as np
from helpers.models import digits, digits_data

from real_models.model import RealModel


def onnx_file(folder):
    """Trace the network, write it into the folder."""
    from edgecomp import api

    path = folder / "digits.onnx"
    api.save(digits(), path)
    return path


@functools.cache
def _name():
    return digits().graph.inputs[0].name


def _feeds(images):
    return [{_name(): np.ascontiguousarray(image[None])} for image in images]


def sample(index):
    """One image."""
    return _feeds(digits_data()[0][index : index + 1])[0]


def score(outputs):
    """Share of digits told."""
    told = np.array([output[0].argmax() for (output,) in outputs])
    return {"accuracy %": 100 * float((told == digits_data()[1]).mean())}


MODEL = RealModel(
    name="digits",
    packages={"safetensors": "safetensors", "torch": "torch"},
    onnx=onnx_file,
    inputs=(),
    calibration=lambda: _feeds(digits_data()[2]),
    samples=lambda: _feeds(digits_data()[0]),
    score=score,
)
