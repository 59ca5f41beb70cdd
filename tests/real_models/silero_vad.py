"""silero-vad 6.2.3: whether a frame of 32 ms is speech; the caller carries the state.

The audio is spoken by espeak-ng, with pauses between the sentences and noise over all. A frame is
speech where the clean voice is loud in it.
"""

import functools
import importlib.util
import io
import pathlib
import shutil
import subprocess
import wave

import numpy as np
import onnxruntime

from edgecomp import api
from edgecomp.options import BuildOptions

PACKAGE = "silero-vad==6.2.3"

#: How far a probability may be from onnxruntime's after hundreds of frames.
MOST_DIFFERENCE = 1e-4
#: Samples that a frame brings, and those of the frame before that stand in front of them.
FRAMES = {16000: (512, 64), 8000: (256, 32)}

SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "Please turn on the light in the kitchen.",
    "Seven ships sailed slowly south on Saturday.",
    "What time does the next train to the airport leave?",
    "An engineer measures twice and cuts once.",
    "Blue skies and a gentle wind are expected tomorrow.",
)
_PAUSE_SECONDS = 0.9
_NOISE_DECIBELS = -15.0  # of the noise, over the mean of the voice
_VOICE_DECIBELS = -30.0  # a frame this far below the loudest one is silence


def missing() -> str:
    """Why the model or its audio cannot be had here, or ""."""
    if importlib.util.find_spec("silero_vad") is None:
        return f"not installed: {PACKAGE}"
    if shutil.which("espeak-ng") is None:
        return (
            "espeak-ng is not installed (apt install espeak-ng), which speaks the test audio"
        )
    return ""


def onnx_file(variant: str = "silero_vad") -> pathlib.Path:
    """A model of the package; found, not imported, because importing it starts torch."""
    origin = importlib.util.find_spec("silero_vad").origin
    return pathlib.Path(origin).parent / "data" / f"{variant}.onnx"


@functools.cache
def audio(rate: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 samples at 16 or 8 kHz, and for each frame whether somebody speaks."""
    rng = np.random.default_rng(0)
    parts = [np.zeros(int(_PAUSE_SECONDS * rate))]
    for number, sentence in enumerate(SENTENCES):
        voice = _spoken(sentence, speed=140 + 10 * number, rate=rate)
        parts += [voice / np.abs(voice).max() * 0.5, np.zeros(int(_PAUSE_SECONDS * rate))]
    clean = np.concatenate(parts)
    size, _ = FRAMES[rate]
    clean = clean[: len(clean) // size * size]
    power = (clean.reshape(-1, size) ** 2).mean(1)
    labels = power > power.max() * 10 ** (_VOICE_DECIBELS / 10)
    noise = rng.standard_normal(len(clean)) * np.sqrt(
        power[labels].mean() * 10 ** (_NOISE_DECIBELS / 10)
    )
    return (clean + noise).astype(np.float32), labels


def frames(rate: int) -> np.ndarray:
    """float32 [frames, context + size]: what the model reads of the audio."""
    samples, labels = audio(rate)
    size, context = FRAMES[rate]
    padded = np.concatenate([np.zeros(context, np.float32), samples])
    return np.stack([padded[i * size : (i + 1) * size + context] for i in range(len(labels))])


def probabilities(step, rate: int, count: int | None = None) -> np.ndarray:
    """Speech probability of each frame.

    Args:
        step: (frame [1, n], state [2, 1, 128]) -> (probability [1, 1], next state).
        rate: of the audio.
        count: of frames, from the first on.
    """
    state = np.zeros((2, 1, 128), np.float32)
    found = []
    for frame in frames(rate)[:count]:
        probability, state = step(frame[None], state)
        found.append(float(probability[0, 0]))
    return np.array(found)


def build(variant: str, rate: int, output: pathlib.Path, **options):
    """The bundle of a variant that reads one frame; ``options`` are those of a build."""
    inputs = (f"input:1x{sum(FRAMES[rate])}", "state:2x1x128")
    options = BuildOptions(input=inputs, output=output, **options)
    return api.build(str(onnx_file(variant)), options)


def onnxruntime_probabilities(variant: str, rate: int, count: int | None = None) -> np.ndarray:
    """``probabilities`` by onnxruntime."""
    session = onnxruntime.InferenceSession(str(onnx_file(variant)))
    names = {value.name for value in session.get_inputs()}
    given = {"sr": np.array(rate, np.int64)} if "sr" in names else {}
    return probabilities(
        lambda frame, state: session.run(None, {"input": frame, "state": state, **given}),
        rate,
        count,
    )


def bundle_probabilities(bundle, rate: int, count: int | None = None, **where) -> np.ndarray:
    """``probabilities`` by a bundle; ``where`` is for ``api.run``."""
    names = {port.name for port in bundle.inputs}
    given = {"sr": np.array(rate, np.int64)} if "sr" in names else {}

    def step(frame, state):
        feeds = {"input": frame, "state": state, **given}
        return list(api.run(bundle, feeds, **where).values())

    return probabilities(step, rate, count)


def accuracy(found: np.ndarray, rate: int) -> float:
    """Share of frames that are told right at a threshold of one half."""
    return float(np.mean((found > 0.5) == audio(rate)[1][: len(found)]))


def _spoken(sentence: str, speed: int, rate: int) -> np.ndarray:
    command = ["espeak-ng", "-v", "en-us", "-s", str(speed), "--stdout", sentence]
    content = subprocess.run(command, check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(content)) as file:
        given = file.getframerate()
        # What is written to a pipe claims an endless length.
        raw = file.readframes(file.getnframes())
    samples = np.frombuffer(raw[: len(raw) // 2 * 2], np.int16).astype(np.float64) / 32768
    return _resampled(samples, given, rate)


def _resampled(samples: np.ndarray, given: int, wanted: int) -> np.ndarray:
    """Another rate, by cutting the spectrum."""
    count = len(samples) * wanted // given
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    whole = np.zeros(count // 2 + 1, complex)
    whole[: len(spectrum)] = spectrum
    return np.fft.irfft(whole, count) * count / len(samples)
