"""Metrics for ``--ranges-by-metric``: right characters of lines that no task of this folder has.

    edgecomp quantize FLOAT.onnx --calibration-data lines.npz --ranges-by-metric \
        --metric tests/benchmarks/labelled_lines.py:ocr_news

The lines are made as those that the models are calibrated with; news is cut from the documents that
are for calibration.
"""

import functools
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from real_models import ocr_news as news
from real_models import ocr_recognition as words

#: The first line behind those of calibration, and how many.
_FIRST, _LINES = 10_000, 1000


@functools.cache
def _of_words():
    indices = range(_FIRST, _FIRST + _LINES)
    return [(words.feed(i, hard=i % 100 >= 40), words.text_of(i)) for i in indices]


@functools.cache
def _of_news():
    indices = range(_FIRST, _FIRST + _LINES)
    return [
        (news.feed(i, calibration=True), news.text_of(i, calibration=True)) for i in indices
    ]


def _right(run, lines):
    """Right characters in all, and of each line."""
    found = []
    for feed, text in lines:
        (scores,) = run(feed).values()
        found.append(len(text) - words.edit_distance(words.decode(scores[0]), text))
    return float(np.sum(found)), found


def ocr_recognition(run):
    """Lines of 53 words."""
    return _right(run, _of_words())


def ocr_news(run):
    """Lines of news."""
    return _right(run, _of_news())
