"""How far a model's outputs are from those of float, as one number."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgecomp.debugging.metrics import Similarity
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.run import Runner

Feed = Mapping[str, AnyArray]
Pair = tuple[Feed, dict[str, AnyArray]]

#: Samples with their outputs are kept up to this, else they are read and computed anew.
KEPT_BYTES = 256 << 20


class FloatOutputs:
    """Samples with the outputs of the float model.

    Args:
        model: float.
        feeds: can be read any number of times.

    Attributes:
        names: of the outputs.
    """

    def __init__(self, model: ir.Model, feeds: Iterable[Feed]) -> None:
        self._runner = Runner(model)
        self._feeds = feeds
        self.names = list(self._runner.names)
        self._kept: list[Pair] | None = []
        size = 0
        for pair in self._computed():
            size += sum(array.nbytes for part in pair for array in part.values())
            if size > KEPT_BYTES:
                self._kept = None
                break
            self._kept.append(pair)

    def _computed(self) -> Iterator[Pair]:
        for feed in self._feeds:
            yield feed, self._runner(feed)

    def pairs(self, most: int | None = None) -> Iterator[Pair]:
        """Samples and outputs, of the first few only where ``most`` says so."""
        for index, pair in enumerate(self._computed() if self._kept is None else self._kept):
            if most is not None and index >= most:
                return
            yield pair

    @property
    def feeds(self) -> Iterable[Feed]:
        """The samples."""
        return self._feeds if self._kept is None else [feed for feed, _ in self._kept]


class OutputError:
    """The difference of outputs, over samples.

    Attributes:
        by_output: of each output.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.by_output = {name: Similarity(divergence=False) for name in names}

    def add(self, expected: Mapping[str, AnyArray], found: Sequence[AnyArray]) -> None:
        """One sample; outputs are matched in their order."""
        for name, array in zip(self.by_output, found, strict=True):
            one = expected[name]
            if one.dtype.kind != "f":  # indices and truth values are right or wrong
                array, one = (array != one).astype(np.float32) + 1, np.ones(one.shape)
            self.by_output[name].add(one, array)

    @property
    def noise_to_signal(self) -> float:
        """Mean over the outputs that are not all zero."""
        found = [s.noise_to_signal for s in self.by_output.values() if not s.is_silent]
        silent = [s.noise_to_signal for s in self.by_output.values() if s.is_silent]
        return sum(found) / len(found) if found else max(silent, default=0.0)


def output_error(
    model: ir.Model, reference: FloatOutputs, most: int | None = None
) -> OutputError:
    """Run a model over the samples and compare.

    Args:
        model: with the inputs and outputs of the float one.
        reference: samples and what float gives.
        most: samples to run.
    """
    runner = Runner(model)
    error = OutputError(reference.names)
    for feed, expected in reference.pairs(most):
        results = runner(feed)
        error.add(expected, [results[name] for name in runner.names])
    return error
