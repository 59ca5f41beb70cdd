"""Tables and dictionaries of measurements that were made up."""

import io
import json

import pytest
from rich.console import Console

from edgecomp.bench import report
from edgecomp.bench.compare import Comparison
from edgecomp.bench.result import BenchmarkResult, VerifyResult
from edgecomp.bench.runner import CallTime, Measurement, MeasureOptions
from edgecomp.bench.statistics import Ratio, summarize
from edgecomp.bench.verify import OutputCheck
from edgecomp.errors import Code, EdgecompError


def _call(index, source, operator, schedule, ms, macs=0):
    nodes = f"node_{index}"
    return CallTime(index, operator, schedule, nodes, source, macs, ms * 1e6, ms * 1e6)


CALLS = (
    _call(0, "net.py:3", "Convolution", "convolution_f32", 4.0, 8_000_000),
    _call(1, "net.py:3", "Convolution", "convolution_f32", 2.0, 4_000_000),
    _call(2, "", "Einsum[bold]", "fallback", 3.0),
    _call(3, "net.py:3", "FillHalo", "fill", 1.0),
)


def _measurement(**changes):
    values = {
        "device": "local",
        "emulated": False,
        "options": MeasureOptions(num_runs=3),
        "load_ns": 1_500_000,
        "first_run_ns": 12_000_000,
        "wall": summarize([9e6, 10e6, 11e6]),
        "cpu": summarize([9e6, 9e6, 9e6]),
        "peak_rss_bytes": 5 << 20,
        "calls": CALLS,
        **changes,
    }
    return Measurement(**values)


def _text(view):
    stream = io.StringIO()
    Console(file=stream, width=120, color_system=None).print(view)
    return stream.getvalue()


def test_profile_is_grouped_by_line_and_operator():
    rows = report.group_profile(CALLS)
    assert [(r.source, r.operator, r.calls) for r in rows] == [
        ("net.py:3", "Convolution", 2),
        ("node_2", "Einsum[bold]", 1),
        ("net.py:3", "FillHalo", 1),
    ]
    assert [r.share for r in rows] == pytest.approx([0.6, 0.3, 0.1])
    assert [r.fallback for r in rows] == [False, True, False]
    assert rows[0].multiply_adds == 12_000_000
    assert report.fallback_share(CALLS) == pytest.approx(0.3)
    assert report.group_profile(()) == []
    assert report.fallback_share(()) == 0


def test_measurement_for_people():
    text = _text(report.measurement_view(_measurement()))
    for part in (
        "10.000",
        "load 1.500 ms",
        "first run 12.000 ms",
        "peak memory 5.0 MiB",
        "net.py:3",
        "Einsum[bold]",
        "30.0%",
        "in fallbacks",
        "2.0",
    ):
        assert part in text, part
    assert "emulated" not in text
    assert "emulated" in _text(report.measurement_view(_measurement(emulated=True)))
    plain = _text(report.measurement_view(_measurement(calls=(), peak_rss_bytes=0)))
    assert "slowest" not in plain
    assert "memory" not in plain


def test_short_times_keep_their_digits():
    text = _text(report.measurement_view(_measurement(wall=summarize([377.0]), calls=())))
    assert "0.000377" in text


def test_measurement_for_programs():
    content = json.loads(json.dumps(report.measurement_dict(_measurement())))
    assert content["wall"]["p50_ns"] == 10e6
    assert content["fallback_share"] == pytest.approx(0.3)
    assert content["profile"][0]["source"] == "net.py:3"
    assert len(content["calls"]) == 4


def _comparison(value, low, high, inconclusive=False):
    times = summarize([1e6])
    ratio = Ratio(value, low, high, 9, inconclusive)
    return Comparison(
        "onnxruntime", "1.2", "ONNX", 1, "cpu", times, times, ratio, 100.0, 99.0, True
    )


@pytest.mark.parametrize(
    ("comparison", "sentence"),
    [
        (_comparison(2.0, 1.9, 2.1), "edgecomp is 2.000 times as fast as onnxruntime"),
        (_comparison(0.5, 0.4, 0.8), "onnxruntime is 2.000 times as fast as edgecomp (95 % "),
        (_comparison(0.5, 0.4, 0.8), "(95 % between 1.250 and 2.500)"),
        (_comparison(1.1, 0.9, 1.2, True), "inconclusive"),
    ],
)
def test_the_answer_in_words(comparison, sentence):
    assert sentence in report.ratio_sentence(comparison)
    assert "onnxruntime 1.2" in _text(report.comparisons_view([comparison]))
    assert report.comparison_dict(comparison)["ratio"]["rounds"] == 9


def test_checks():
    checks = [OutputCheck(0, "a[0]", 0.0, 0.0), OutputCheck(0, "b", 1e-5, 3e-4)]
    text = _text(report.checks_view(checks))
    assert "a[0]" in text
    assert "equal" in text
    assert "0.0003" in text
    assert report.checks_dict(checks)[1]["tolerance"] == 3e-4


def test_results():
    checks = [OutputCheck(0, "y", 0.0, 0.0), OutputCheck(1, "y", 0.0, 0.0)]
    verified = VerifyResult("net", "qemu", checks)
    assert json.loads(json.dumps(verified.as_dict()))["checks"][1]["vector"] == 1
    measured = BenchmarkResult("net", "host", _measurement(), [_comparison(2.0, 1.9, 2.1)])
    assert (
        json.loads(json.dumps(measured.as_dict()))["comparisons"][0]["engine"] == "onnxruntime"
    )
    stream = io.StringIO()
    for result in (verified, measured):
        result.render(Console(file=stream, width=120))
    assert "2 golden vector(s) on qemu" in stream.getvalue()
    assert "2.000 times as fast" in stream.getvalue()
    measured.require_conclusive()


def test_a_comparison_that_cannot_tell():
    doubtful = BenchmarkResult("net", "host", _measurement(), [_comparison(1, 0.9, 1.1, True)])
    with pytest.raises(EdgecompError, match="inconclusive") as caught:
        doubtful.require_conclusive()
    assert caught.value.code is Code.BENCHMARK_INCONCLUSIVE
