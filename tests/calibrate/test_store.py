"""What is observed is kept: found again by content, resumed, never trusted when damaged."""

import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
from helpers.graphs import Graph, normal

from edgecomp.calibrate.observation import Observation
from edgecomp.calibrate.observe import Seen, collect_ranges
from edgecomp.calibrate.ranges import ALL_METHODS
from edgecomp.calibrate.readers import open_calibration
from edgecomp.calibrate.store import Store
from edgecomp.frontend.input_spec import InputSpec

TESTS = pathlib.Path(__file__).parents[1]


def network(factor=1.0):
    graph = Graph()
    x = graph.input("x", (1, 4))
    weights = np.arange(16, dtype=np.float32).reshape(4, 4) - 7
    return graph.model(graph("Relu", graph("MatMul", x, weights * np.float32(factor))))


def samples_of(count):
    rng = np.random.default_rng(1)
    return [{"x": normal(rng, 1, 4)} for _ in range(count)]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "kept", interval_samples=1, interval_s=0.0, least_s=0.0)


@pytest.fixture
def runs(monkeypatch):
    """Samples that the model was run on."""
    counted = []
    add = Observation.add
    monkeypatch.setattr(
        Observation, "add", lambda self, *given: (counted.append(1), add(self, *given))
    )
    return counted


def collect(samples, store, **settings):
    return collect_ranges(network(), samples, store=store, method="mse", **settings)


def test_the_same_samples_are_not_observed_again(store, runs):
    seen, again = Seen(), Seen()
    expected = collect(samples_of(40), store, seen=seen)
    assert len(runs) == 40
    assert collect(samples_of(40), store, seen=again) == expected
    assert len(runs) == 40
    assert again.samples == seen.samples == 40
    assert again.drifts == seen.drifts
    assert again.inputs["x"].__dict__ == seen.inputs["x"].__dict__
    # Another method chooses from the same histograms.
    entropy = collect_ranges(network(), samples_of(40), store=store, method="entropy")
    assert len(runs) == 40
    assert entropy == collect_ranges(network(), samples_of(40), method="entropy")


@pytest.mark.parametrize("method", ALL_METHODS)
def test_more_samples_go_on_from_fewer(store, runs, method):
    collect_ranges(network(), samples_of(20), store=store, method=method)
    found = collect_ranges(network(), samples_of(50), store=store, method=method)
    assert len(runs) == 50
    assert found == collect_ranges(network(), samples_of(50), method=method)


def test_other_samples_and_other_models_are_observed(store, runs):
    collect(samples_of(20), store)
    changed = samples_of(20)
    changed[7] = {"x": changed[7]["x"] + 1}
    assert collect(changed, store) == collect_ranges(network(), changed, method="mse")
    fewer = samples_of(19)
    assert collect(fewer, store) == collect_ranges(network(), fewer, method="mse")
    before = len(runs)
    collect_ranges(network(2.0), samples_of(20), store=store, method="mse")
    assert len(runs) == before + 20


def test_a_source_that_shuffles(store):
    class Shuffled:
        def __init__(self):
            self.turn = 0

        def __iter__(self):
            self.turn += 1
            # The first look is what was observed before, the next is not.
            yield from samples_of(10) if self.turn == 1 else reversed(samples_of(12))

    collect(samples_of(5), store)
    expected = collect_ranges(network(), samples_of(12)[::-1], method="mse")
    assert collect(Shuffled(), store) == expected


def test_a_source_that_can_be_read_once(store, runs):
    collect(samples_of(10), store)
    assert collect(iter(samples_of(10)), store) == collect_ranges(
        network(), samples_of(10), method="mse"
    )


@pytest.mark.parametrize("damage", ["cut", "bit", "other"])
def test_a_damaged_file_is_not_trusted(store, runs, damage, caplog):
    expected = collect(samples_of(10), store)
    (path,) = (file for file in store.folder.rglob("*") if file.is_file())
    content = bytearray(path.read_bytes())
    if damage == "bit":
        content[len(content) // 2] ^= 1
    path.write_bytes(
        {"cut": content[:100], "bit": bytes(content), "other": b"nothing"}[damage]
    )
    with caplog.at_level("DEBUG"):
        assert collect(samples_of(10), store) == expected
    assert len(runs) == 20
    assert "is not used" in caplog.text


def test_image_files_are_known_by_their_contents(store, runs, tmp_path, monkeypatch):
    import PIL.Image

    from edgecomp.calibrate import images

    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(5):
        pixels = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{index}.png")
    graph = Graph()
    model = graph.model(graph("Relu", graph.input("x", (1, 3, 8, 8))))

    def ranges(**settings):
        opened = open_calibration(folder, [InputSpec("x", (1, 3, 8, 8))], **settings)
        return collect_ranges(model, opened, store=store)

    expected = ranges()
    with monkeypatch.context() as patch:
        patch.setattr(images, "open_picture", None)  # no picture is read
        assert ranges() == expected
    assert len(runs) == 5
    ranges(mean=[0.5])
    assert len(runs) == 10


KILLED = """
import os, pathlib, signal, sys
sys.path.insert(0, {tests!r})
from calibrate.test_store import Store, collect, samples_of

class Dying:
    def __iter__(self):
        for at, sample in enumerate(samples_of(40)):
            if at == 30:
                os.kill(os.getpid(), signal.SIGKILL)
            yield sample

collect(Dying(), Store(pathlib.Path({folder!r}), 8, 0.0, 0.0))
"""


def test_a_killed_calibration_goes_on(store, runs):
    script = KILLED.format(tests=str(TESTS), folder=str(store.folder))
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    died = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert died.returncode == -signal.SIGKILL
    seen, expected = Seen(), Seen()
    found = collect(samples_of(40), store, seen=seen)
    assert len(runs) == 40 - 24
    assert found == collect_ranges(network(), samples_of(40), method="mse", seen=expected)
    assert seen.drifts == expected.drifts
    assert seen.inputs["x"].__dict__ == expected.inputs["x"].__dict__


def test_quick_calibrations_are_not_kept(tmp_path):
    collect(samples_of(10), Store(tmp_path / "kept", least_s=1000.0))
    assert not (tmp_path / "kept").exists()


MEMORY = """
import sys, tracemalloc
sys.path.insert(0, {tests!r})
import numpy as np, resource
from calibrate.test_store import network
from edgecomp.calibrate.observe import collect_ranges, Seen
from edgecomp.calibrate.readers import open_calibration
from edgecomp.frontend.input_spec import InputSpec

def generate(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield {{"x": rng.standard_normal((1, 4)).astype(np.float32)}}

def peak(count):
    model = network()
    samples = open_calibration(lambda: generate(count), [InputSpec("x", (1, 4))], num_samples=count)
    tracemalloc.start()
    collect_ranges(model, samples, method="mse", seen=Seen())
    result = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return result

peak(100)
few = peak(100)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
many = peak(10_000)
print(few, many, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""

#: Of numpy and onnxruntime; the digests of repeated samples are below it.
SLACK_BYTES = 512 << 10


def test_ten_thousand_samples_take_no_more_memory_than_a_hundred(figure):
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    output = subprocess.run(
        [sys.executable, "-c", MEMORY.format(tests=str(TESTS))],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    few, many, resident_kib = map(int, output.split())
    figure(
        "calibration, 10,000 samples against 100",
        f"{many / 1024:.0f} KiB against {few / 1024:.0f}, {resident_kib} KiB more resident",
        "no more",
    )
    assert many <= few + SLACK_BYTES
    assert resident_kib <= 4096
