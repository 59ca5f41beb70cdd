"""The other files of silero-vad: one rate, half precision, no If, whole sequences."""

import numpy as np
import onnxruntime
import pytest
from real_models import silero_vad
from real_models.silero_vad import (
    MOST_DIFFERENCE,
    bundle_probabilities,
    onnxruntime_probabilities,
)

from edgecomp import api
from edgecomp.options import BuildOptions

pytestmark = pytest.mark.skipif(bool(silero_vad.missing()), reason=silero_vad.missing())

_IFLESS = "silero_vad_op18_ifless"


@pytest.fixture(scope="module")
def ifless(tmp_path_factory):
    return silero_vad.build(_IFLESS, 16000, tmp_path_factory.mktemp("vad") / "bundle")


@pytest.mark.parametrize("rate", [16000, 8000])
def test_both_ways_of_one_bundle(ifless, rate):
    """The variant whose two networks both take any frame."""
    session = onnxruntime.InferenceSession(str(silero_vad.onnx_file(_IFLESS)))
    state = np.zeros((2, 1, 128), np.float32)
    for frame in silero_vad.frames(16000)[20:60]:
        feeds = {"input": frame[None], "state": state, "sr": np.array(rate, np.int64)}
        wanted = session.run(None, feeds)
        for got, want in zip(ifless.run(feeds).values(), wanted, strict=True):
            np.testing.assert_allclose(got, want, atol=MOST_DIFFERENCE)
        state = wanted[1]


@pytest.mark.parametrize(
    "variant", ["silero_vad_16k_op15", "silero_vad_half", "silero_vad_openvino_16k"]
)
def test_variants_of_one_rate(variant, tmp_path):
    bundle = silero_vad.build(variant, 16000, tmp_path / "bundle")
    found = bundle_probabilities(bundle, 16000, 100)
    reference = onnxruntime_probabilities(variant, 16000, 100)
    assert np.abs(found - reference).max() <= MOST_DIFFERENCE


def test_whole_sequences(tmp_path):
    """16 frames a run; the state of its LSTM is carried from run to run."""
    count = 16
    path = silero_vad.onnx_file("silero_vad_16k_sequence")
    options = BuildOptions(input=(f"input:{count}x576",), output=tmp_path / "bundle")
    bundle = api.build(str(path), options)
    session = onnxruntime.InferenceSession(str(path))
    frames = silero_vad.frames(16000)
    carried = [np.zeros((1, 1, 128), np.float32)] * 2
    for begin in range(0, len(frames) - count, count):
        feeds = {"input": frames[begin : begin + count], "h": carried[0], "c": carried[1]}
        wanted = session.run(None, feeds)
        got = list(bundle.run(feeds).values())
        np.testing.assert_allclose(got[0], wanted[0], atol=MOST_DIFFERENCE)
        carried = got[1:]
