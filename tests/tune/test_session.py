"""What is measured, kept, resumed and refused; the measuring itself is a stand-in."""

import dataclasses
import json

import numpy as np
import pytest
from helpers.programs import model_of

from edgecomp.bench.local import ProcessDevice
from edgecomp.device.load import load_target
from edgecomp.errors import Code, EdgecompError
from edgecomp.progress import silent
from edgecomp.schedules.cost_table import Measured, read_table
from edgecomp.tune import session
from edgecomp.tune.layers import collect_layers
from edgecomp.tune.session import TuneSettings, tune_model

TEXT = """<ir_version: 10, opset_import: ["" : 21]>
g (float[1,8,9,9] x) => (float[1,8,9,9] y) {
    a = Conv <pads = [1,1,1,1]> (x, w, b)
    c = Conv <pads = [1,1,1,1]> (a, w, b)
    e = Conv <pads = [1,1,1,1]> (c, w, b)
    d = Conv (e, v, b)
    y = Relu(d)
}"""
RNG = np.random.default_rng(0)
WEIGHTS = {
    "w": RNG.standard_normal((8, 8, 3, 3)).astype(np.float32),
    "v": RNG.standard_normal((8, 8, 1, 1)).astype(np.float32),
    "b": RNG.standard_normal(8).astype(np.float32),
}
HOST = load_target("host")
LOCAL = ProcessDevice("local")


class Stopwatch:
    """Says that later candidates are faster; fails after so many layers."""

    def __init__(self, layers_left=99):
        self.layers_left = layers_left
        self.measured = []
        self.finals = 0

    def __call__(self, layer, _target, _device, settings):
        if not self.layers_left:
            raise KeyboardInterrupt
        self.layers_left -= 1
        self.measured.append(layer.signature)
        return [
            Measured(
                layer=layer.signature,
                schedule=candidate.schedule,
                params=candidate.params,
                ns=1000 - index,
                spread=0.0,
                runs=settings.rounds,
                constant_bytes=0,
            )
            for index, candidate in enumerate(layer.candidates)
        ]

    def run_finals(self, _model, _found, table, *_):
        self.finals += 1
        for name in table.layers:
            for entry in table.entries(name):
                table.add(dataclasses.replace(entry, in_model_ns=entry.ns))


@pytest.fixture
def tune(tmp_path, monkeypatch):
    """tune(stopwatch, **settings) -> TuneResult."""

    def start(stopwatch, device=LOCAL, target=HOST, text=TEXT, **changes):
        monkeypatch.setattr(session, "measure_layer", stopwatch)
        monkeypatch.setattr(session, "run_finals", stopwatch.run_finals)
        settings = {
            "output": tmp_path / "table.json",
            "threads": 1,
            "trials": 5,
            "max_secs": 0.0,
        }
        weights = {name: array for name, array in WEIGHTS.items() if f" {name}" in text}
        model = model_of(text, **weights)
        return tune_model(
            model, target, device, TuneSettings(**{**settings, **changes}), silent
        )

    return start


def test_finals_come_when_every_layer_is_known_and_only_once(tune):
    watch = Stopwatch(layers_left=1)
    with pytest.raises(KeyboardInterrupt):
        tune(watch)
    assert watch.finals == 0
    watch = Stopwatch()
    tune(watch)
    assert watch.finals == 1
    tune(watch)
    assert watch.finals == 1


def test_every_layer_is_measured_the_largest_first(tune, tmp_path):
    watch = Stopwatch()
    result = tune(watch)
    layers = collect_layers(model_of(TEXT, **WEIGHTS), HOST).layers
    assert watch.measured == [layer.signature for layer in layers]
    assert [layer.count for layer in layers] == [2, 1, 1]
    assert (result.measured, result.known, result.left) == (len(layers), 0, 0)
    table = read_table(tmp_path / "table.json")
    assert table.layers == sorted(watch.measured)
    assert table.header.threads == 1
    assert table.header.device == LOCAL.describe()


def test_the_result_says_what_was_gained(tune):
    result = tune(Stopwatch())
    for layer in result.layers:
        assert layer.own_ns == 1000
        assert layer.best_ns < 1000
    content = json.loads(json.dumps(result.as_dict()))
    assert content["own_ns"] == 4000
    assert content["best_ns"] == 4000 - sum(x.saved_ns for x in result.layers)


def test_an_interrupted_run_goes_on_where_it_stopped(tune, tmp_path):
    first = Stopwatch(layers_left=1)
    with pytest.raises(KeyboardInterrupt):
        tune(first)
    kept = (tmp_path / "table.json").read_text()
    second = Stopwatch()
    result = tune(second)
    assert len(first.measured) == result.known == 1
    assert not set(first.measured) & set(second.measured)
    text = (tmp_path / "table.json").read_text()
    first_layer = json.loads(kept)["entries"]
    assert {row["layer"] for row in first_layer} == set(first.measured)
    again = [row for row in json.loads(text)["entries"] if row["layer"] in first.measured]
    assert [row["ns"] for row in again] == [row["ns"] for row in first_layer]
    third = Stopwatch()
    assert tune(third).measured == 0
    assert third.measured == []
    assert (tmp_path / "table.json").read_text() == text


def test_time_runs_out(tune, monkeypatch):
    clock = iter([0.0, 1.0, 11.0])
    monkeypatch.setattr(session.time, "monotonic", lambda: next(clock))
    result = tune(Stopwatch(), max_secs=10.0)
    assert (result.measured, result.left) == (1, 2)
    assert len(result.layers) == 1


def refused(call):
    with pytest.raises(EdgecompError) as error:
        call()
    return error.value


def test_an_emulator_is_refused(tune):
    error = refused(lambda: tune(Stopwatch(), device=ProcessDevice("qemu", ("qemu",))))
    assert error.code is Code.USAGE
    assert "emulator" in error.cause


def test_this_machine_is_no_board(tune):
    error = refused(lambda: tune(Stopwatch(), target=load_target("raspberry-pi-3")))
    assert error.code is Code.USAGE
    assert "raspberry-pi-3" in error.cause
    assert "ssh" in error.hint


def test_host_is_no_other_machine(tune):
    device = ProcessDevice("ssh:pi@board")
    error = refused(lambda: tune(Stopwatch(), device=device))
    assert "'host' is this machine, not ssh:pi@board" in error.cause


def test_a_model_without_choices_is_refused(tune):
    text = """<ir_version: 10, opset_import: ["" : 21]>
        g (float[1,8] x) => (float[1,8] y) { y = Relu(x) }"""
    error = refused(lambda: tune(Stopwatch(), text=text))
    assert error.code is Code.USAGE
    assert "no layer" in error.cause


def test_another_number_of_threads_is_another_table(tune):
    tune(Stopwatch())
    error = refused(lambda: tune(Stopwatch(), threads=2))
    assert error.code is Code.COST_TABLE_INVALID
    assert "threads = 1, now it is 2" in error.cause


def test_kernels_of_another_version_are_measured_again(tune, tmp_path):
    tune(Stopwatch())
    path = tmp_path / "table.json"
    path.write_text(path.read_text().replace("axis=", "old="))
    watch = Stopwatch()
    result = tune(watch)
    assert result.measured == len(watch.measured) > 0
