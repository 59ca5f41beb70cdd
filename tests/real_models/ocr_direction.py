"""Direction of PP-OCR lines (rapidocr 3.10.0): upright or by 180 degrees, fixed at 48 x 192."""

import numpy as np
from PIL import Image

from real_models.model import RealModel
from real_models.ocr_recognition import models_folder
from real_models.text_lines import line_image, normalized

_WIDTH = 192
_LINES = 100


def onnx_file(folder):
    """The model as shipped."""
    return models_folder() / "ch_ppocr_mobile_v2.0_cls_mobile.onnx"


def _feed(index, turned):
    image = line_image(index, hard=index % 2 == 1)
    if turned:
        image = image.transpose(Image.Transpose.ROTATE_180)
    return {"x": normalized(image, _WIDTH)}


def _feeds(first, count):
    return [_feed(first + i, turned) for i in range(count) for turned in (False, True)]


def score(outputs):
    """Share of lines whose direction is right."""
    right = [int(o[0].argmax()) == i % 2 for i, o in enumerate(outputs)]
    return {"accuracy %": 100 * float(np.mean(right))}


MODEL = RealModel(
    name="ocr_direction",
    packages={"rapidocr==3.10.0": "rapidocr"},
    onnx=onnx_file,
    inputs=(f"x:1x3x48x{_WIDTH}",),
    calibration=lambda: _feeds(5000, 30),
    samples=lambda: _feeds(0, _LINES),
    score=score,
)
