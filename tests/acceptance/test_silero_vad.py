"""silero-vad over spoken audio: its branches, its two rates, its state, its variants."""

import shutil

import numpy as np
import onnxruntime
import pytest
from real_models import silero_vad

from edgecomp import api
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import BuildOptions

pytestmark = pytest.mark.skipif(bool(silero_vad.missing()), reason=silero_vad.missing())

#: How far a probability may be from onnxruntime's after hundreds of frames.
MOST_DIFFERENCE = 1e-4
EMULATED_FRAMES = 24


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Build a variant once for each set of options."""
    known = {}

    def made(variant, rate, *, target="host", constant=()):
        key = variant, rate, target, constant
        if key not in known:
            samples = sum(silero_vad.FRAMES[rate])
            options = BuildOptions(
                input=(f"input:1x{samples}", "state:2x1x128"),
                constant=constant,
                target=target,
                output=tmp_path_factory.mktemp("vad") / "bundle",
            )
            known[key] = api.build(str(silero_vad.onnx_file(variant)), options)
        return known[key]

    return made


def expected(variant, rate, count=None):
    session = onnxruntime.InferenceSession(str(silero_vad.onnx_file(variant)))
    names = {value.name for value in session.get_inputs()}
    given = {"sr": np.array(rate, np.int64)} if "sr" in names else {}
    return silero_vad.probabilities(
        lambda frame, state: session.run(None, {"input": frame, "state": state, **given}),
        rate,
        count,
    )


def found(bundle, rate, count=None, **where):
    given = {"sr": np.array(rate, np.int64)}
    given = {port.name: given[port.name] for port in bundle.inputs if port.name in given}

    def step(frame, state):
        feeds = {"input": frame, "state": state, **given}
        return list(api.run(bundle, feeds, **where).values())

    return silero_vad.probabilities(step, rate, count)


@pytest.mark.parametrize("rate", [16000, 8000])
def test_the_rate_as_an_input(build, rate, figure):
    bundle, reference = build("silero_vad", rate), expected("silero_vad", rate)
    probabilities = found(bundle, rate)
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
    bundle = build("silero_vad", 16000)
    frame = {
        "input": np.zeros((1, 576), np.float32),
        "state": np.zeros((2, 1, 128), np.float32),
    }
    with pytest.raises(EdgecompError) as error:
        bundle.run({**frame, "sr": np.array(8000, np.int64)})
    assert error.value.code is Code.INPUT_MISMATCH
    bundle.run({**frame, "sr": np.array(16000, np.int64)})


@pytest.mark.parametrize("rate", [16000, 8000])
def test_both_ways_of_one_bundle(build, rate):
    """The variant whose two networks both take any frame."""
    bundle = build("silero_vad_op18_ifless", 16000)
    session = onnxruntime.InferenceSession(str(silero_vad.onnx_file("silero_vad_op18_ifless")))
    state = np.zeros((2, 1, 128), np.float32)
    for frame in silero_vad.frames(16000)[20:60]:
        feeds = {"input": frame[None], "state": state, "sr": np.array(rate, np.int64)}
        wanted = session.run(None, feeds)
        for got, want in zip(bundle.run(feeds).values(), wanted, strict=True):
            np.testing.assert_allclose(got, want, atol=MOST_DIFFERENCE)
        state = wanted[1]


@pytest.mark.parametrize("rate", [16000, 8000])
def test_the_rate_as_a_constant(build, rate):
    bundle = build("silero_vad", rate, constant=(f"sr={rate}",))
    assert [port.name for port in bundle.inputs] == ["input", "state"]
    assert not bundle.report["regions"]
    difference = found(bundle, rate, 100) - expected("silero_vad", rate, 100)
    assert np.abs(difference).max() <= MOST_DIFFERENCE


@pytest.mark.parametrize(
    "variant", ["silero_vad_16k_op15", "silero_vad_half", "silero_vad_openvino_16k"]
)
def test_other_variants(build, variant):
    difference = found(build(variant, 16000), 16000, 100) - expected(variant, 16000, 100)
    assert np.abs(difference).max() <= MOST_DIFFERENCE


def test_the_variant_for_whole_sequences(tmp_path):
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


def test_on_a_raspberry_pi(build):
    """Emulated: the same frames, state and branch on aarch64."""
    if not shutil.which("qemu-aarch64"):
        pytest.skip("qemu-aarch64 is not installed (apt install qemu-user)")
    bundle = build("silero_vad", 16000, target="raspberry-pi-4")
    if bundle.runner_path is None:
        pytest.skip(bundle.manifest.build.note)
    probabilities = found(bundle, 16000, EMULATED_FRAMES, device="qemu")
    reference = expected("silero_vad", 16000, EMULATED_FRAMES)
    assert np.abs(probabilities - reference).max() <= MOST_DIFFERENCE
