"""The tasks on which models of 8 bits are compared: many more samples than the tests take.

How many was settled before any tool had been run on them. None is among the calibration samples.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from helpers.models import digits_data, imagenet_images
from real_models import (
    digits,
    efficientnet_lite0,
    magika,
    minilm,
    ocr_news,
    ocr_recognition,
)
from real_models.model import Feed, Outputs, RealModel


@dataclasses.dataclass(frozen=True)
class Task:
    """A model, and what it is asked.

    Attributes:
        model: with its calibration samples.
        what: is right or wrong, for the table.
        count: of samples.
        feed: of a sample.
        mark: sample, outputs -> how much of it is right, and of how much.
        group: of a sample: what comes from one photo is right or wrong together.
    """

    model: RealModel
    what: str
    count: int
    feed: Callable[[int], Feed]
    mark: Callable[[int, Outputs], tuple[float, float]]
    group: Callable[[int], int] = int


def _photo(index):
    return index % len(imagenet_images()[1])


def _photo_is_told(index, outputs):
    return float(outputs[0].argmax() == imagenet_images()[1][_photo(index)]), 1.0


def _document_is_told(index, outputs):
    _, topic = minilm.told_documents(_DOCUMENTS)[index]
    return float(minilm.tell(outputs[0].astype(np.float64))[0] == topic), 1.0


def _line(index):
    """Of a hundred lines 40 are sharp, as in the model's own samples."""
    return ocr_recognition.feed(index, hard=index % 100 >= 40)


def _line_is_read(index, outputs):
    text = ocr_recognition.text_of(index)
    wrong = ocr_recognition.edit_distance(ocr_recognition.decode(outputs[0][0]), text)
    return float(len(text) - wrong), float(len(text))


def _file(index):
    return magika.files(_FILES)[index]


def _digit_is_told(index, outputs):
    return float(outputs[0].argmax() == digits_data()[1][index]), 1.0


_DOCUMENTS, _FILES = 1000, 2000

TASKS = {
    task.model.name: task
    for task in (
        Task(
            efficientnet_lite0.MODEL,
            "views of 20 photos",
            800,
            efficientnet_lite0.further_view,
            _photo_is_told,
            _photo,
        ),
        Task(
            minilm.MODEL,
            "documents",
            _DOCUMENTS,
            lambda index: minilm.feed(minilm.told_documents(_DOCUMENTS)[index][0]),
            _document_is_told,
        ),
        Task(ocr_recognition.MODEL, "characters of lines", 1000, _line, _line_is_read),
        Task(
            ocr_news.MODEL,
            "characters of lines of news",
            2000,
            ocr_news.feed,
            lambda index, outputs: ocr_news.read(index, outputs[0][0]),
        ),
        Task(
            magika.MODEL,
            "files",
            _FILES,
            lambda index: magika.feed(_file(index)),
            lambda index, outputs: (float(magika.is_right(_file(index), outputs[0])), 1.0),
        ),
        Task(digits.MODEL, "images", 2000, digits.sample, _digit_is_told),
    )
}
