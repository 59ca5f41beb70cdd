"""PP-OCRv6 detection of rapidocr 3.10.0: where a page has lines of text, fixed at 480 x 480."""

import numpy as np
import scipy.ndimage

from real_models.model import RealModel
from real_models.ocr_recognition import models_folder
from real_models.text_lines import page

_SIDE = 480
_PAGES = 24
_CALIBRATION = 16
#: What counts as text, and how far a found core is from the edge of its line: area over
#: perimeter times this, as in the package's own post-processing.
_THRESHOLD, _GROWTH = 0.3, 1.5


def onnx_file(folder):
    """The model as shipped."""
    return models_folder() / "PP-OCRv6_det_small.onnx"


def _feed(index):
    image, _ = page(index, (_SIDE, _SIDE))
    pixels = np.asarray(image, np.float32)[:, :, ::-1].transpose(2, 0, 1)
    return {"x": np.ascontiguousarray(pixels / np.float32(127.5) - 1)[None]}


def boxes_of(probability):
    """(left, top, right, bottom) of every spot of text, and its mean probability."""
    labels, _ = scipy.ndimage.label(probability > _THRESHOLD)
    found = []
    for place in scipy.ndimage.find_objects(labels):
        rows, columns = place
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if min(height, width) < 3:
            continue
        grow = _GROWTH * height * width / (2 * (height + width))
        inside = probability[place]
        found.append(
            (
                (
                    columns.start - grow,
                    rows.start - grow,
                    columns.stop + grow,
                    rows.stop + grow,
                ),
                float(inside[inside > _THRESHOLD].mean()),
            )
        )
    return found


def overlap(a, b):
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def score(outputs):
    """Lines found with at least half of their box in common, and how well the boxes lie."""
    lines = found = right = 0
    overlaps, scores = [], []
    for index, (probability,) in enumerate(outputs):
        _, truth = page(index, (_SIDE, _SIDE))
        boxes = boxes_of(probability[0, 0])
        best = [max((overlap(box, t) for t in truth), default=0.0) for box, _ in boxes]
        lines, found = lines + len(truth), found + len(boxes)
        right += sum(value >= 0.5 for value in best)
        overlaps += [value for value in best if value >= 0.5]
        scores += [s for (_, s), value in zip(boxes, best, strict=True) if value >= 0.5]
    return {
        "F1 %": 200 * right / max(1, lines + found),
        "mean overlap": float(np.mean(overlaps or [0])),
        "mean score": float(np.mean(scores or [0])),
    }


MODEL = RealModel(
    name="ocr_detection",
    packages={"rapidocr==3.10.0": "rapidocr"},
    onnx=onnx_file,
    inputs=(f"x:1x3x{_SIDE}x{_SIDE}",),
    calibration=lambda: [_feed(1000 + index) for index in range(_CALIBRATION)],
    samples=lambda: [_feed(index) for index in range(_PAGES)],
    score=score,
)
