"""What is known of a model before it is read."""

import pathlib

import pytest

from edgecomp.errors import Code, EdgecompError
from edgecomp.steps.source import errors_about, name_of, require_free


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("some/key-words.onnx", "key_words"),
        (pathlib.Path("net.v2.pt2"), "net_v2"),
        ("models/zoo.py:small_net", "small_net"),
        ("package.module:net", "net"),
        (object(), "object"),
    ],
)
def test_a_name_is_a_c_identifier(source, name):
    assert name_of(source) == name


def raised(code, source, only=(), path=""):
    with pytest.raises(EdgecompError) as caught, errors_about(source, only):
        raise EdgecompError(code, "wrong", path=path)
    return caught.value.path


def test_errors_are_about_the_source_where_they_name_no_file():
    assert raised(Code.USAGE, "a.onnx") == "a.onnx"
    assert raised(Code.USAGE, pathlib.Path("a.onnx")) == "a.onnx"
    assert raised(Code.USAGE, "a.onnx", path="b.npy") == "b.npy"
    assert not raised(Code.USAGE, object())
    assert not raised(Code.USAGE, "a.onnx", only=(Code.CALIBRATION_EMPTY,))


def test_what_an_output_may_replace(tmp_path):
    model = tmp_path / "model.onnx"
    require_free(model, model, force=False)  # there is nothing yet
    model.write_bytes(b"x")
    other = tmp_path / "other.onnx"
    other.write_bytes(b"x")
    require_free(other, model, force=True)
    refused = [(other, False), (model, True), (tmp_path, True)]
    for path, force in refused:
        with pytest.raises(EdgecompError) as caught:
            require_free(path, str(model), force=force)
        assert caught.value.code is Code.OUTPUT_EXISTS
        assert caught.value.path == str(path)
