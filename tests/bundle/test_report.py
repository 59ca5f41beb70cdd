"""Coverage and sizes add up."""

import json

import numpy as np
import pytest
from helpers.small_plan import COLUMNS, DEPTH, ROWS, changed, small_plan
from helpers.targets import AVX2

from edgecomp.bundle import report


@pytest.fixture(scope="module")
def plan():
    return small_plan(AVX2)


def test_coverage(plan):
    content = report.build_report(plan, {"weights": 384}, "", {})
    total = ROWS * DEPTH + ROWS * DEPTH * COLUMNS
    assert content["coverage"] == {
        "calls": 3,
        "multiply_adds": total,
        "fallback_calls": 1,
        "schedules": {
            "elementwise_f32": {"calls": 1, "multiply_adds": ROWS * DEPTH},
            "gemm_f32": {"calls": 1, "multiply_adds": ROWS * DEPTH * COLUMNS},
        },
        "fallbacks": {"Fallback(Line)": {"calls": 1, "multiply_adds": 0}},
        "devices": {"cpu": {"calls": 3, "multiply_adds": total}},
    }
    assert [c["weights_bytes"] for c in content["calls"]] == [
        DEPTH * 4,
        DEPTH * COLUMNS * 4,
        0,
    ]
    assert json.loads(report.report_json(content)) == json.loads(json.dumps(content))


def test_markdown_names_the_fallback_and_its_source(plan):
    text = report.report_markdown(
        report.build_report(
            plan,
            {"weights": 384},
            "a note",
            {"passes": ["A", "B"], "quantization": {"x|y": 1}, "empty": []},
        )
    )
    assert "| Fallback(Line) | 1 | 0 |" in text
    assert "**fallback** | 0 | 0 | model.py:20 | triple, add |" in text
    assert "**Note:** a note" in text
    assert "## Passes\n\n- A\n- B\n" in text
    assert "| x\\|y | 1 |" in text
    assert "Empty" not in text
    assert "\n\n\n" not in text


def test_markdown_has_the_errors_of_layers(plan):
    """Of results where they were computed, of weights where these alone were rounded."""
    layer = {"shape": [8, 4], "float_bytes": 128, "bytes": 32}
    rows = [
        {"node": "a", "method": "gptq", "error": 0.01, "rtn_error": 0.02, **layer},
        {"node": "b", "method": "rtn", "weight_error": 0.03, **layer},
        {"node": "c", "method": "rtn", **layer},
    ]
    text = report.report_markdown(report.build_report(plan, {}, "", {"weights": rows}))
    assert "| a | 8, 4 | 128 | 32 | gptq | 1.00e-02 | 2.00e-02 |  |" in text
    assert "| b | 8, 4 | 128 | 32 | rtn |  |  | 3.00e-02 |" in text
    assert "| c | 8, 4 | 128 | 32 | rtn |  |  |  |" in text


def test_markdown_without_fallbacks(plan):
    text = report.report_markdown(
        report.build_report(changed(plan, calls=plan.calls[:2]), {}, "", {})
    )
    assert "nothing runs through the fallback" in text
    assert "Note" not in text


def test_numbers_of_numpy_are_written(plan):
    content = report.build_report(plan, {}, "", {"accuracy": {"top1": np.float32(0.5)}})
    assert json.loads(report.report_json(content))["facts"]["accuracy"]["top1"] == 0.5
    with pytest.raises(TypeError, match="JSON"):
        report.report_json({"x": object()})
