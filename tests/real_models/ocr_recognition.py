"""PP-OCRv6 recognition of rapidocr 3.10.0: lines of text to characters, fixed at 48 x 480."""

import functools
import importlib.util
import pathlib

import numpy as np
import onnx

from real_models.model import RealModel
from real_models.text_lines import line_image, normalized, text_of

_WIDTH = 480
_CLEAN, _HARD = 40, 60
_CALIBRATION = 60


def models_folder():
    """Folder of the package's models; importing the package loads all of its engines."""
    return pathlib.Path(importlib.util.find_spec("rapidocr").origin).parent / "models"


def onnx_file(folder):
    """The model as shipped."""
    return models_folder() / "PP-OCRv6_rec_small.onnx"


@functools.cache
def characters():
    """Class -> character; class 0 is CTC's blank."""
    model = onnx.load(onnx_file(None))
    (text,) = (p.value for p in model.metadata_props if p.key == "character")
    return ["", *text.splitlines(), " "]


def decode(scores):
    """Best character of every column, repetitions and blanks left out."""
    best = scores.argmax(-1)
    kept = [k for i, k in enumerate(best) if k and (i == 0 or k != best[i - 1])]
    return "".join(characters()[k] for k in kept)


def edit_distance(left, right):
    """Insertions, deletions and substitutions that turn one text into the other."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        previous, row = row, [i]
        for j, b in enumerate(right, 1):
            row.append(min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (a != b)))
    return row[-1]


def _lines(first, clean, hard):
    return [(first + i, False) for i in range(clean)] + [
        (first + clean + i, True) for i in range(hard)
    ]


def feed(index, *, hard, text=None):
    """Input of a line of text, of the index's own or another one."""
    return {"x": normalized(line_image(index, hard=hard, text=text), _WIDTH)}


def score(outputs):
    """Character error rate of sharp and of blurred, turned, pale lines."""
    errors = {False: [0, 0], True: [0, 0]}
    for (index, hard), (scores,) in zip(_lines(0, _CLEAN, _HARD), outputs, strict=True):
        text = text_of(index)
        errors[hard][0] += edit_distance(decode(scores[0]), text)
        errors[hard][1] += len(text)
    wrong, total = np.sum(list(errors.values()), 0)
    return {
        "character errors %": 100 * wrong / total,
        "of sharp lines %": 100 * errors[False][0] / errors[False][1],
        "of hard lines %": 100 * errors[True][0] / errors[True][1],
    }


MODEL = RealModel(
    name="ocr_recognition",
    packages={"rapidocr==3.10.0": "rapidocr"},
    onnx=onnx_file,
    inputs=(f"x:1x3x48x{_WIDTH}",),
    calibration=lambda: [
        feed(index, hard=hard)
        for index, hard in _lines(5000, _CALIBRATION // 2, _CALIBRATION // 2)
    ],
    samples=lambda: [feed(index, hard=hard) for index, hard in _lines(0, _CLEAN, _HARD)],
    score=score,
)
