"""silero-vad over spoken audio: its branches, its two rates, its state."""

import numpy as np
import pytest
from helpers.targets import reason_not_runnable
from real_models import silero_vad
from real_models.silero_vad import (
    MOST_DIFFERENCE,
    bundle_probabilities,
    onnxruntime_probabilities,
)

from edgecomp.device.load import load_target
from edgecomp.errors import Code, EdgecompError

pytestmark = pytest.mark.skipif(bool(silero_vad.missing()), reason=silero_vad.missing())

_NAME = "silero_vad"
EMULATED_FRAMES = 24


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Build the network of a rate once."""
    known = {}

    def made(rate):
        if rate not in known:
            folder = tmp_path_factory.mktemp("vad")
            known[rate] = silero_vad.build(_NAME, rate, folder / "bundle")
        return known[rate]

    return made


@pytest.mark.parametrize("rate", [16000, 8000])
def test_the_rate_as_an_input(build, rate, figure):
    reference = onnxruntime_probabilities(_NAME, rate)
    probabilities = bundle_probabilities(build(rate), rate)
    difference = float(np.abs(probabilities - reference).max())
    rates = [100 * silero_vad.accuracy(each, rate) for each in (probabilities, reference)]
    figure(
        f"silero-vad at {rate // 1000} kHz, {len(reference)} frames of speech in noise",
        f"{rates[0]:.1f} % right, onnxruntime {rates[1]:.1f} %; farthest {difference:.1e}",
        f"at most {MOST_DIFFERENCE:.0e} apart",
    )
    assert difference <= MOST_DIFFERENCE
    assert rates[0] > 80


def test_a_rate_that_does_not_fit_the_frame_is_refused(build):
    """The network of 8 kHz cannot read a frame of 16 kHz: onnxruntime fails as well."""
    bundle = build(16000)
    frame = {
        "input": np.zeros((1, 576), np.float32),
        "state": np.zeros((2, 1, 128), np.float32),
    }
    with pytest.raises(EdgecompError) as error:
        bundle.run({**frame, "sr": np.array(8000, np.int64)})
    assert error.value.code is Code.INPUT_MISMATCH
    bundle.run({**frame, "sr": np.array(16000, np.int64)})


@pytest.mark.parametrize("rate", [16000, 8000])
def test_the_rate_as_a_constant(rate, tmp_path):
    bundle = silero_vad.build(_NAME, rate, tmp_path / "bundle", constant=(f"sr={rate}",))
    assert [port.name for port in bundle.inputs] == ["input", "state"]
    assert not bundle.report["regions"]
    found = bundle_probabilities(bundle, rate, 100)
    assert np.abs(found - onnxruntime_probabilities(_NAME, rate, 100)).max() <= MOST_DIFFERENCE


def test_on_a_raspberry_pi(tmp_path):
    """Emulated: the same frames, state and branch on aarch64."""
    target = load_target("raspberry-pi-4")
    if reason := reason_not_runnable(target):
        pytest.skip(reason)
    bundle = silero_vad.build(_NAME, 16000, tmp_path / "bundle", target=target.name)
    found = bundle_probabilities(bundle, 16000, EMULATED_FRAMES, device="qemu")
    reference = onnxruntime_probabilities(_NAME, 16000, EMULATED_FRAMES)
    assert np.abs(found - reference).max() <= MOST_DIFFERENCE
