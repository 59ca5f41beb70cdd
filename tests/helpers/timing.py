"""Times for the figures: programs in turns, and the steps of a build."""

import contextlib
import time

from edgecomp.bench.compare import take_turns
from edgecomp.bench.engines import BundleEngine, timed_inputs
from edgecomp.bench.statistics import paired_ratio


def times_as_fast(quick, slow, *, seconds=0.1, rounds=9):
    """Processor time of one bundle divided by that of another, one thread each, in turns."""
    with contextlib.ExitStack() as stack:
        engines = [
            stack.enter_context(
                contextlib.closing(BundleEngine(bundle, 1, timed_inputs(bundle)))
            )
            for bundle in (quick, slow)
        ]
        turns = take_turns(engines, seconds, rounds=rounds)
    return paired_ratio(*([times.cpu_ns for times in rounds] for rounds in turns))


def ratio_text(ratio):
    """``1.46 times as fast (95 %: 1.44 to 1.50)``."""
    return f"{ratio.value:.2f} times as fast (95 %: {ratio.low:.2f} to {ratio.high:.2f})"


class Steps:
    """A progress function that adds up how long each step took.

    Attributes:
        seconds: step -> time, in the order in which the steps began.
    """

    def __init__(self, first):
        self.seconds = {}
        self._step, self._begin = first, time.perf_counter()

    def __call__(self, step, *_parts):
        if step != self._step:
            self.end()
            self._step = step

    def end(self):
        """Close the current step."""
        now = time.perf_counter()
        self.seconds[self._step] = self.seconds.get(self._step, 0.0) + now - self._begin
        self._begin = now

    def __str__(self):
        return ", ".join(f"{step} {seconds:.1f}" for step, seconds in self.seconds.items())
