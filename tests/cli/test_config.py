"""Configuration files, and what wins over them."""

import json

import pytest

from edgecomp.cli.config import read_config
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import BuildOptions

YAML = """
model: net.onnx
target: raspberry-pi-4
precision: int8
calibration-data: images
num_samples: 16
mean: [0.5, 0.5, 0.5]
std: 0.25
per_channel: false
nodes_to_exclude: head
output: out/bundle
"""
TOML = """
model = "net.onnx"
target = "raspberry-pi-4"
precision = "int8"
calibration-data = "images"
num_samples = 16
mean = [0.5, 0.5, 0.5]
std = [0.25]
per_channel = false
nodes_to_exclude = ["head"]
output = "out/bundle"
"""


def write(folder, suffix, text):
    path = folder / f"edgecomp.{suffix}"
    path.write_text(text)
    return path


@pytest.mark.parametrize("suffix", ["yaml", "yml", "toml", "json"])
def test_all_forms_say_the_same(tmp_path, suffix):
    text = TOML if suffix == "toml" else YAML
    if suffix == "json":
        import tomllib

        text = json.dumps(tomllib.loads(TOML))
    values = read_config(write(tmp_path, suffix, text), BuildOptions)
    assert values.pop("model") == "net.onnx"
    options = BuildOptions(**values)
    assert options.precision == "w8a8"
    assert options.std == (0.25,)
    assert options.nodes_to_exclude == ("head",)
    assert str(options.output) == "out/bundle"
    assert options.per_channel is False


@pytest.mark.parametrize(
    ("suffix", "text", "expected"),
    [
        ("yaml", "smooth_quant: off", "off"),
        ("yaml", "smooth_quant: 'off'", "off"),
        ("yaml", "smooth-quant: 0.5", "0.5"),
        ("toml", "smooth_quant = 1", "1"),
        ("json", '{"smooth_quant": "auto"}', "auto"),
    ],
)
def test_words_and_numbers_are_as_a_flag_has_them(tmp_path, suffix, text, expected):
    values = read_config(write(tmp_path, suffix, text), BuildOptions)
    assert values == {"smooth_quant": expected}
    assert BuildOptions(precision="w8a8", **values).smooth_quant == expected


def test_flags_go_before_the_file(tmp_path, run, api):
    seen = {}

    def build(model, options, progress):
        seen.update(model=model, options=options)
        raise EdgecompError(Code.INTERNAL, "far enough")

    api.build = build
    path = write(tmp_path, "yaml", YAML)
    run("build", "-c", path, "--num-samples", 7, "--per-channel")
    assert seen["model"] == "net.onnx"
    assert seen["options"].num_samples == 7
    assert seen["options"].per_channel is True
    assert seen["options"].target == "raspberry-pi-4"
    assert seen["options"].mean == (0.5, 0.5, 0.5)
    run("build", "other.onnx", "-c", path)
    assert seen["model"] == "other.onnx"
    run("build", "-c", path, "--num-samples", BuildOptions().num_samples)
    assert seen["options"].num_samples == BuildOptions().num_samples


@pytest.mark.parametrize(
    ("suffix", "text", "cause", "hint"),
    [
        ("yaml", "traget: host", "unknown key 'traget'", "'target'"),
        ("yaml", "num_samples: many", "num_samples: expected an integer", ""),
        ("yaml", "num_samples: 1\nnum-samples: 2", "'num_samples' is given twice", ""),
        ("yaml", "seed: 1\nseed: 2", "line 2: 'seed' is given twice", ""),
        ("json", '{"seed": 1, "seed": 2}', "line 1: 'seed' is given twice", ""),
        ("yaml", "mean: [a]", "mean[0]: expected a number, found 'a'", ""),
        ("yaml", "force: 1", "force: expected true or false", ""),
        ("yaml", "smooth_quant: on", "smooth_quant: expected text, found True", ""),
        ("yaml", "target: off", "target: expected text, found False", ""),
        ("yaml", "- a\n- b", "expected keys and values", ""),
        ("yaml", "a: [", "cannot be read", ""),
        ("toml", "a = ", "cannot be read", ""),
        ("json", "{", "cannot be read", ""),
        ("ini", "a=1", "the suffix '.ini' is none of", ""),
    ],
)
def test_a_mistake_is_named_with_the_file(tmp_path, suffix, text, cause, hint):
    path = write(tmp_path, suffix, text)
    with pytest.raises(EdgecompError) as info:
        read_config(path, BuildOptions)
    assert info.value.code is Code.USAGE
    assert info.value.path == str(path)
    assert cause in info.value.cause
    assert hint in info.value.hint


def test_a_wrong_value_is_named(tmp_path, run):
    result = run("build", "-c", write(tmp_path, "yaml", "model: m.onnx\nprecision: w3"))
    assert result.status == 2
    assert "--precision: unknown 'w3'" in result.err


def test_a_missing_file(tmp_path, run):
    result = run("build", "-c", tmp_path / "none.yaml")
    assert result.status == 2
    assert "EC0101" in result.err


def test_an_empty_file_changes_nothing(tmp_path):
    assert read_config(write(tmp_path, "yaml", ""), BuildOptions) == {}
