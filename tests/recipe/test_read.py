"""Recipes from files: every form, every mistake with its line."""

import json

import pytest

from edgecomp.errors import Code, EdgecompError
from edgecomp.recipe.passes import QuantizeArguments
from edgecomp.recipe.read import read_recipe, recipe_of

YAML = """\
- pass: quantize
  args:
    precision: int8
    calibration_method: kl
- pass: float
  targets: [head, "re:stage4.*"]
  ignore: stage4.last
- pass: bias_correction
  targets: Conv
"""
TOML = """\
[[recipe]]
pass = "quantize"
args = { precision = "w8a8", calibration_method = "entropy" }
[[recipe]]
pass = "float"
targets = ["head", "re:stage4.*"]
ignore = ["stage4.last"]
[[recipe]]
pass = "bias-correction"
targets = ["Conv"]
"""


def read(tmp_path, text, name="r.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return read_recipe(path)


def test_every_form_is_the_same(tmp_path):
    found = read(tmp_path, YAML)
    data = found.as_list()
    assert [step.kind.name for step in found.steps] == ["quantize", "float", "bias_correction"]
    assert found.steps[0].arguments == QuantizeArguments(
        precision="w8a8", calibration_method="entropy"
    )
    assert found.steps[1].targets == ("head", "re:stage4.*")
    assert found.steps[1].ignore == ("stage4.last",)
    assert found.steps[1].place.endswith("r.yaml:5")
    assert read(tmp_path, TOML, "r.toml").as_list() == data
    assert read(tmp_path, json.dumps(data), "r.json").as_list() == data
    assert read(tmp_path, json.dumps({"recipe": data}), "r.json").as_list() == data


def test_written_and_read_again(tmp_path):
    first = read(tmp_path, YAML)
    text = first.text(["from a test"])
    assert "# from a test\n" in text
    assert read(tmp_path, text).as_list() == first.as_list()


@pytest.mark.parametrize(
    ("text", "line", "cause", "hint"),
    [
        ("- pass: quantise", 1, "unknown pass 'quantise'", "did you mean 'quantize'?"),
        ("- pass: float\n  target: [a]", 2, "unknown key 'target'", "did you mean 'targets'?"),
        ("- pass: float\n- targets: [a]", 2, "names no pass", "known: quantize"),
        ("- pass: float\n- 3", 2, "expected a step, found 3", "pass: quantize"),
        (
            "- pass: quantize\n  args:\n    calibration_methd: mse",
            3,
            "unknown key",
            "did you mean 'calibration_method'?",
        ),
        (
            "- pass: quantize\n  args:\n    calibration_method: msee",
            3,
            "calibration_method 'msee' is unknown",
            "did you mean 'mse'?",
        ),
        (
            "- pass: quantize\n  args:\n    per_channel: 1",
            3,
            "expected true or false",
            "takes",
        ),
        ("- pass: quantize\n  args: {calibration_percentile: 50}", 2, "more than 50", ""),
        ("- pass: quantize\n  args: {calibration_percentile: .nan}", 2, "at most 100", ""),
        ("- pass: smooth_quant\n  args: {alpha: 1.5}", 2, "at least 0 and at most 1", ""),
        ("- pass: weight_rounding\n  args: {method: up}", 2, "'up' is unknown", "adaround"),
        ("- pass: quantize\n  args: {precision: auto}", 2, "'auto' is unknown", "known: bf16"),
        ("- pass: float\n  args: {a: 1}", 2, "unknown key", "known:"),
        ("- pass: float\n  args: 3", 2, "table of arguments", ""),
        ("- pass: float\n  targets: [1]", 2, "list of names", ""),
        ("recipes: []", 1, "unknown key 'recipes'", "list of steps"),
        ("pass: float", 1, "unknown key 'pass'", "list of steps"),
        ("- pass: float\n  pass: float", None, "line 2: 'pass' is given twice", ""),
        ("- pass: [", None, "cannot be read", ""),
        ("3", None, "expected a list of steps", ""),
        ("", None, "expected a list of steps", ""),
    ],
)
def test_mistakes(tmp_path, text, line, cause, hint):
    with pytest.raises(EdgecompError) as caught:
        read(tmp_path, text)
    error = caught.value
    assert error.code is Code.RECIPE_INVALID
    assert cause in error.cause
    assert hint in error.hint
    assert error.path.endswith("r.yaml" if line is None else f"r.yaml:{line}")


def test_files_that_are_none(tmp_path):
    with pytest.raises(EdgecompError, match="EC0101"):
        read_recipe(tmp_path / "none.yaml")
    with pytest.raises(EdgecompError, match=r"the suffix '\.txt' is none of"):
        read(tmp_path, "[]", "r.txt")
    with pytest.raises(EdgecompError, match="cannot be read"):
        read_recipe(tmp_path)
    with pytest.raises(EdgecompError, match="cannot be read: Expecting"):
        read(tmp_path, "[", "r.json")
    with pytest.raises(EdgecompError, match="cannot be read"):
        read(tmp_path, "[[", "r.toml")


def test_from_python():
    assert recipe_of([{"pass": "exclude", "targets": ["a"]}]).steps[0].targets == ("a",)
