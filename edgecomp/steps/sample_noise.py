"""How far a quantized model's outputs are from float's, sample by sample, and what two such say."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from edgecomp.debugging.outputs import FloatOutputs, OutputError
from edgecomp.graph.constants import AnyArray
from edgecomp.steps.held_back import Feed

#: Noise over signal of each sample.
Noise = npt.NDArray[np.float64]
#: Standard errors that a mean gain has to be apart from none.
_SURE = 2.0


def sample_noise(
    run: Callable[[Feed], Mapping[str, AnyArray]],
    names: Sequence[str],
    expected: FloatOutputs,
) -> Noise:
    """Of each sample; those without a signal say nothing.

    Args:
        run: feed -> outputs by name.
        names: of the outputs, in the order of the float model's.
        expected: samples and what float gives.
    """
    found = []
    for feed, outputs in expected.pairs():
        if not _has_signal(outputs):
            continue
        error = OutputError(expected.names)
        results = run(feed)
        error.add(outputs, [results[name] for name in names])
        found.append(error.noise_to_signal)
    return np.array(found or [0.0])


def telling(noise: Noise) -> float:
    """How many samples the mean hangs on: all where they are alike, 1 where one is nearly all of it."""
    whole = noise.sum()
    if not 0.0 < whole < np.inf:
        return float(len(noise))
    return float(1.0 / ((noise / whole) ** 2).sum())


def is_less(found: Noise, before: Noise, gain: float) -> bool:
    """Whether noise is less by a part of it, and less without the sample that says so most.

    More samples for it than against would not do: where a softmax is sure of its answer both noises
    are nothing, and which of them is the smaller one is chance.
    """
    mean = found.mean()
    enough = bool(np.isfinite(mean) and mean <= (1.0 - gain) * before.mean())
    gains = before - found
    return enough and bool(gains.sum() > gains.max())


def is_surely_less(found: Noise, before: Noise, gain: float) -> bool:
    """Whether noise is less by a part of it, and by more than samples differ by chance.

    A text of fifteen lines has some twenty columns that are read otherwise; which of two models
    reads one more of them otherwise is told by none.
    """
    gains = before - found
    if not is_less(found, before, gain):
        return False
    return bool(gains.mean() > _SURE * gains.std(ddof=1) / np.sqrt(len(gains)))


def _has_signal(outputs: Mapping[str, AnyArray]) -> bool:
    return any(each.dtype.kind != "f" or np.any(each) for each in outputs.values())
