"""Options: every field is an option, every wrong value is refused by name."""

import dataclasses
import pathlib

import pytest

from edgecomp import options
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import (
    BenchmarkOptions,
    BudgetOptions,
    BuildOptions,
    CheckOptions,
    DebugOptions,
    QuantizeOptions,
    RunOptions,
    TalkOptions,
    TuneOptions,
)

ALL = [*dict.fromkeys(options.VERBS.values()), TalkOptions]


@pytest.mark.parametrize("cls", ALL)
def test_every_field_says_what_it_is(cls):
    assert sorted(f.name for f in options.fields_of(cls)) == sorted(
        f.name for f in dataclasses.fields(cls)
    )
    for field in options.fields_of(cls):
        facts = options.facts_of(field)
        assert facts.help
        assert not facts.help.endswith(".")
        if facts.choices and field.default:
            assert set(facts.choices) >= {field.default}


@pytest.mark.parametrize("cls", ALL)
def test_no_flag_is_used_twice(cls):
    flags = [f for c in (cls, TalkOptions) for x in options.fields_of(c) for f in flags_of(x)]
    if cls is not TalkOptions:
        assert len(flags) == len(set(flags))


def flags_of(field):
    return [*options.facts_of(field).flags, options.flag_of(field.name)]


@pytest.mark.parametrize("cls", ALL)
def test_defaults_are_valid(cls):
    cls()


@pytest.mark.parametrize(
    ("cls", "values", "flag", "hint"),
    [
        (BuildOptions, {"precision": "w8a9"}, "--precision", "'w8a8'"),
        (BuildOptions, {"calibration_data": "x"}, "--calibration-data", "--precision w8a8"),
        (BuildOptions, {"bias_correction": True}, "--bias-correction", "--precision w8a8"),
        (
            QuantizeOptions,
            {"calibration_method": "entrophy"},
            "--calibration-method",
            "'entropy'",
        ),
        (QuantizeOptions, {"calibration_percentile": 101.0}, "--calibration-percentile", ""),
        (QuantizeOptions, {"num_samples": 0}, "--num-samples", ""),
        (QuantizeOptions, {"seed": -1}, "--seed", ""),
        (
            QuantizeOptions,
            {"precision": "w8a8", "save_recipe": pathlib.Path("r.toml")},
            "--save-recipe",
            ".yaml",
        ),
        (DebugOptions, {"output": pathlib.Path("r.toml")}, "--output", ".yaml"),
        (DebugOptions, {"apply": pathlib.Path("recipe")}, "--apply", ".yaml"),
        (BudgetOptions, {"precision": "fp16", "max_bytes": 9}, "--precision", "budgets"),
        (BudgetOptions, {"precision": "w8a8", "method": "gptq"}, "--method", "w4a16"),
        (
            DebugOptions,
            {"output": pathlib.Path("r.yaml"), "html": pathlib.Path("./r.yaml")},
            "--html",
            "",
        ),
        (
            QuantizeOptions,
            {
                "precision": "w8a8",
                "output": pathlib.Path("r.yaml"),
                "save_recipe": pathlib.Path("r.yaml"),
            },
            "--save-recipe",
            "",
        ),
        (QuantizeOptions, {"mean": (1.0, 2.0)}, "--mean", ""),
        (QuantizeOptions, {"mean": (127.5,)}, "--mean", "255"),
        (QuantizeOptions, {"std": (float("nan"),)}, "--std", ""),
        (QuantizeOptions, {"std": (0.0,)}, "--std", ""),
        (QuantizeOptions, {"std": (float("inf"),)}, "--std", ""),
        (QuantizeOptions, {"mean": (float("nan"),)}, "--mean", ""),
        (DebugOptions, {"restore": float("nan")}, "--restore", ""),
        (BenchmarkOptions, {"max_secs": float("nan")}, "--max-secs", ""),
        (TuneOptions, {"max_secs": float("nan")}, "--max-secs", ""),
        (QuantizeOptions, {"resize": -1}, "--resize", ""),
        (QuantizeOptions, {"smooth_quant": "on"}, "--smooth-quant", "auto"),
        (QuantizeOptions, {"smooth_quant": "1.5"}, "--smooth-quant", "auto"),
        (QuantizeOptions, {"smooth_quant": False}, "--smooth-quant", "auto"),
        (BuildOptions, {"name": "my model"}, "--name", ""),
        (BuildOptions, {"name": "großes_netz"}, "--name", ""),
        (BuildOptions, {"toolchain": "zigg"}, "--toolchain", "require"),
        (BuildOptions, {"opset": 0}, "--opset", ""),
        (RunOptions, {"device": "qmu"}, "--device", "'qemu'"),
        (RunOptions, {"device": "ssh"}, "--device", ""),
        (RunOptions, {"device": "qemu:x"}, "--device", ""),
        (RunOptions, {"num_threads": 0}, "--num-threads", ""),
        (RunOptions, {"top": 0}, "--top", ""),
        (RunOptions, {"std": (-1.0,)}, "--std", ""),
        (BenchmarkOptions, {"num_runs": 0}, "--num-runs", ""),
        (BenchmarkOptions, {"warmup_runs": -1}, "--warmup-runs", ""),
        (BenchmarkOptions, {"max_secs": 0.0}, "--max-secs", ""),
        (BenchmarkOptions, {"compare": ("onnxrt",)}, "--compare", "'onnxruntime'"),
        (CheckOptions, {"opset": -3}, "--opset", ""),
        (TalkOptions, {"verbose": True, "quiet": True}, "--quiet", ""),
        (TalkOptions, {"log_level": "loud"}, "--log-level", "info"),
    ],
)
def test_a_wrong_value_is_refused(cls, values, flag, hint):
    with pytest.raises(EdgecompError) as info:
        cls(**values)
    assert info.value.code is Code.USAGE
    assert info.value.cause.startswith(f"{flag}: ")
    assert hint in info.value.hint


def test_aliases_become_the_canonical_name():
    chosen = BuildOptions(precision="INT8", calibration_method="kl")
    assert chosen.precision == "w8a8"
    assert chosen.calibration_method == "entropy"
    assert BuildOptions(precision="float32").precision == "fp32"


def test_the_devices_there_are():
    for device in ("local", "qemu", "ssh:pi@10.0.0.2", "ssh:pi@board:2222"):
        assert RunOptions(device=device).device == device


def test_replacing_a_field_checks_again():
    with pytest.raises(EdgecompError):
        dataclasses.replace(BuildOptions(output=pathlib.Path("x")), num_samples=0)


def test_engines_to_compare_with():
    found = BenchmarkOptions(
        compare=("onnxruntime,openvino", "openvino"), peer_python=("openvino=a=b",)
    )
    assert found.compare == ("onnxruntime", "openvino")
    assert found.by_engine("peer_python") == {"openvino": "a=b"}
    for wrong in (
        {"compare": ("onnxruntime,openvin",)},
        {"peer_python": ("openvino",)},
        {"peer_model": ("openvin=x",)},
    ):
        with pytest.raises(EdgecompError) as caught:
            BenchmarkOptions(**wrong)
        assert caught.value.code is Code.USAGE


def test_a_path_may_be_a_text():
    given = QuantizeOptions(output="model.onnx", save_recipe="recipe.yaml", precision="w8a8")
    assert given.output == pathlib.Path("model.onnx")
    assert given.save_recipe == pathlib.Path("recipe.yaml")
