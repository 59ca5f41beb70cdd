"""The search under budgets: settings first, then the precisions of layers."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from edgecomp.budget.assignment import Problem, assign
from edgecomp.budget.noise import NoiseModel, first_guess
from edgecomp.budget.problem import FLOAT, INTEGER, Groups
from edgecomp.budget.result import Candidate, Limits, RangesByMetric, Step
from edgecomp.budget.tolerance import Point, next_noise
from edgecomp.calibrate.ranges import METHODS
from edgecomp.debugging.search import float_step
from edgecomp.errors import EdgecompError
from edgecomp.options import BudgetOptions
from edgecomp.steps.budget_failures import out_of_reach, too_much_lost
from edgecomp.steps.budget_measure import Measures, all_in, words
from edgecomp.steps.ranges_by_metric import choose_ranges

#: Samples that the noise of layers is measured on one by one.
_FEW_SAMPLES = 4
#: A setting is tried with the metric where it takes at least this part of the noise away, and so
#: many of one kind.
_LEAST_GAIN, _MOST_OF_A_KIND = 0.03, 2
#: Assignments that are built and measured at most.
_MOST_ASSIGNMENTS = 10
#: Drops smaller than this part of the limit are not told apart, and how far what a metric hears
#: may be from what was measured at the outputs.
_NOT_HEARD, _MOST_HEARD = 4.0, 16.0
#: Times that the program is solved at most: seconds, where models are known already.
_MOST_STEPS = 40

#: Settings of one kind: what each is in words, and as a step.
Kind = Callable[[], Iterator[tuple[str, Step]]]


class Search:
    """One model under limits.

    Args:
        measures: builds and measures candidates.
        limits: what is allowed.
        groups: of layers, with what they cost.
        options: flags.

    Attributes:
        objective_words: what is minimised.
        ranges: what the metric says about them, where it is asked.
    """

    def __init__(
        self, measures: Measures, limits: Limits, groups: Groups, options: BudgetOptions
    ) -> None:
        self._measures, self._limits = measures, limits
        self._groups, self._options = groups, options
        self._names = [group.name for group in groups.groups]
        self._nodes = {group.name: group.nodes for group in groups.groups}
        self._more_bytes, self._slower = 0.0, 1.0
        self.objective_words = "time" if groups.timed else "multiply-adds in float"
        if not options.has_limits:
            self.objective_words = "metric"
        elif limits.drop is None:
            self.objective_words = "noise of the outputs"
        self.ranges: RangesByMetric | None = None

    def run(self) -> Candidate:
        """The candidate to build.

        Raises:
            EdgecompError: ACCURACY_GATE, LATENCY_GATE, POLICY_GATE; METRIC_INVALID.
        """
        whole = all_in(INTEGER, self._names)
        first = self._measures.of("all layers in 8 bits", (), whole)
        self._learn(whole, first)
        self._require_possible()
        if self._options.ranges_by_metric:
            first, self.ranges = choose_ranges(self._measures, first, whole)
        if not self._options.has_limits:
            return first
        if self._limits.drop is None:
            return self._least_noise(first)
        settings = self._settings(first, (self._methods, self._corrections))
        found = self._within(settings)
        if found is None:
            # Learning takes long and gains least at 8 bits: it comes last.
            rounded = self._settings(settings, (self._rounding,))
            found = self._within(rounded) if rounded is not settings else None
        if found is None:
            raise too_much_lost(self._limits, self._measures)
        return found

    def _within(self, settings: Candidate) -> Candidate | None:
        """A candidate with these settings that holds."""
        if settings.holds(self._limits) and self._options.precision != "auto":
            return settings
        return self._cheapest(settings)

    def _settings(self, first: Candidate, kinds: Sequence[Kind]) -> Candidate:
        """The candidate of least drop with all layers in 8 bits; the first that holds."""
        best = first
        for kind in kinds:
            if self._loses_little(best):
                return best
            tried = [
                (self._measures.noise([*best.steps, step]), change, step)
                for change, step in kind()
            ]
            for noise, change, step in sorted(tried, key=lambda t: t[0])[:_MOST_OF_A_KIND]:
                if noise > best.noise * (1.0 - _LEAST_GAIN) or self._loses_little(best):
                    continue
                change = f"{best.change}, {change}" if best.steps else change
                steps = (*best.steps, step)
                found = self._measures.of(change, steps, all_in(INTEGER, self._names))
                if (found.drop, found.noise) < (best.drop, best.noise):
                    best = found
        return best

    def _loses_little(self, candidate: Candidate) -> bool:
        return candidate.drop is not None and candidate.drop <= (self._limits.drop or 0.0)

    def _methods(self) -> Iterator[tuple[str, Step]]:
        """All ranges by another method."""
        targets = [node for nodes in self._nodes.values() for node in nodes]
        for method in METHODS:
            if method != self._options.calibration_method:
                arguments = {"calibration_method": method}
                yield (
                    f"ranges by {method}",
                    {"pass": "quantize", "targets": targets, "args": arguments},
                )

    def _corrections(self) -> Iterator[tuple[str, Step]]:
        if self._options.bias_correction is None:
            yield "bias correction", {"pass": "bias_correction"}

    def _rounding(self) -> Iterator[tuple[str, Step]]:
        if self._options.weight_rounding == "nearest":
            yield "adaround", {"pass": "weight_rounding", "args": {"method": "adaround"}}

    def _require_possible(self) -> None:
        """Whether some assignment is within the limits of bytes and time.

        Raises:
            EdgecompError: POLICY_GATE or LATENCY_GATE, with the least that can be reached.
        """
        if assign(self._problem({}), self._hard_limits(), "bytes") is None:
            raise self._out_of_reach()

    def _least_noise(self, settings: Candidate) -> Candidate:
        """Without a limit of the drop: the least noise within the others."""
        noise = self._noise(settings.steps)
        found = None
        for _ in range(_MOST_ASSIGNMENTS):
            chosen = assign(self._problem(noise.fitted), self._hard_limits(), "noise")
            if chosen is None:
                break
            found = self._candidate(settings, chosen, noise)
            if found.holds(self._limits):
                return found
            self._learn(chosen, found)
        raise self._out_of_reach(found)

    def _out_of_reach(self, nearest: Candidate | None = None) -> EdgecompError:
        """What is said where no assignment is within the limits of bytes and time."""
        problem = self._problem({})
        least = {
            cost: problem.cost(chosen)[cost]
            for cost in self._hard_limits()
            if (chosen := assign(problem, {}, cost)) is not None
        }
        return out_of_reach(self._limits, least, self._measures, nearest)

    def _cheapest(self, settings: Candidate) -> Candidate | None:
        """The cheapest assignment whose metric holds, with settings that were found."""
        most = self._limits.drop
        assert most is not None
        noise = self._noise(settings.steps)
        whole = all_in(INTEGER, self._names)
        noise.add(whole, settings.noise)
        points = [Point(settings.noise, settings.drop or 0.0)]
        known = [(whole, settings)]
        allowed = next_noise(points, most)
        if allowed is None:  # it holds; something faster may too
            allowed = settings.noise
        for _ in range(_MOST_STEPS):
            if allowed is None or len(known) > _MOST_ASSIGNMENTS:
                break
            chosen = self._assigned(noise, allowed)
            if chosen is None:
                break
            found = next((c for assigned, c in known if assigned == chosen), None)
            if found is not None and found.noise > allowed and self._is_least(chosen):
                break
            at = allowed
            if found is None:
                found = self._candidate(settings, chosen, noise)
                known.append((chosen, found))
                at = self._heard(found, settings)
                noise.add(chosen, at)
                self._learn(chosen, found)
            points.append(Point(at, found.drop or 0.0))
            allowed = next_noise(points, most)
        held = [each for each in known if each[1].holds(self._limits)]
        if not held:
            return None
        problem = self._problem({})
        return min(held, key=lambda h: (problem.cost(h[0])["seconds"], h[1].bytes))[1]

    def _heard(self, found: Candidate, settings: Candidate) -> float:
        """Noise of a candidate as the metric hears it.

        Between the noise that was measured and the one that its drop stands for, where the drop
        is to that of all layers in 8 bits as the roots of their noises are: so layers that the
        metric depends on become louder than they are at the outputs.
        """
        most = self._limits.drop or 0.0
        if found.drop is None or settings.drop is None or settings.drop <= most:
            return found.noise
        least = max(most / _NOT_HEARD, settings.drop * 1e-3)
        meant = settings.noise * (max(found.drop, least) / settings.drop) ** 2
        near = min(max(meant, found.noise / _MOST_HEARD), found.noise * _MOST_HEARD)
        return math.sqrt(near * found.noise)

    def _assigned(self, noise: NoiseModel, allowed: float) -> dict[str, str] | None:
        """The cheapest assignment of a noise, else that of the least noise.

        Where that is float alone, and not since float is cheapest, one layer is in 8 bits.
        """
        problem, hard = self._problem(noise.fitted), self._hard_limits()
        chosen = assign(problem, {**hard, "noise": allowed}, "seconds")
        if chosen is None:
            chosen = assign(problem, hard, "noise")
        if chosen is None or set(chosen.values()) != {FLOAT}:
            return chosen
        if assign(problem, hard, "seconds") == chosen:
            return chosen
        least = min(self._names, key=lambda name: noise.fitted[name, INTEGER])
        return {**chosen, least: INTEGER}

    @staticmethod
    def _is_least(chosen: Mapping[str, str]) -> bool:
        """Whether no assignment with a layer in few bits has less noise."""
        return sum(precision != FLOAT for precision in chosen.values()) == 1

    def _candidate(
        self, settings: Candidate, chosen: Mapping[str, str], noise: NoiseModel
    ) -> Candidate:
        change, steps = words(chosen), self._steps(chosen)
        if settings.steps:
            change, steps = f"{change}, {settings.change}", [*settings.steps, *steps]
        return self._measures.of(change, steps, chosen, noise.predict(chosen))

    def _steps(self, chosen: Mapping[str, str]) -> list[Step]:
        """The steps that give layers other precisions than 8 bits."""

        def nodes(precision: str) -> list[str]:
            names = [name for name in self._names if chosen[name] == precision]
            return [node for name in names for node in self._nodes[name]]

        few = [
            {"pass": "quantize", "targets": nodes(p), "args": {"precision": p}}
            for p in sorted(set(chosen.values()) - {FLOAT, INTEGER})
        ]
        return [*float_step(nodes(FLOAT)), *few]

    def _noise(self, settings: Sequence[Step]) -> NoiseModel:
        """Every group's noise: alone, and as what it is of the whole."""

        def measured(base: str, **one: str) -> float:
            chosen = {**all_in(base, self._names), **one}
            steps = [*settings, *self._steps(chosen)]
            return self._measures.quick_noise(steps, _FEW_SAMPLES)

        whole = measured(INTEGER)
        prior = {}
        for index, group in enumerate(self._groups.groups):
            self._measures.progress("measure layers", index, len(self._names))
            name = group.name
            alone = measured(FLOAT, **{name: INTEGER})
            prior[name, INTEGER] = first_guess(
                alone, measured(INTEGER, **{name: FLOAT}), whole
            )
            for other in group.others:
                prior[name, other] = measured(FLOAT, **{name: other})
        model = NoiseModel(prior)
        model.add(all_in(INTEGER, self._names), whole)
        return model

    def _problem(self, noise: Mapping[tuple[str, str], float]) -> Problem:
        return self._groups.problem(noise, more_bytes=self._more_bytes, slower=self._slower)

    def _hard_limits(self) -> dict[str, float]:
        """Of what is no estimate: bytes and seconds."""
        limits = {"bytes": self._limits.bytes, "seconds": self._limits.seconds}
        return {cost: float(most) for cost, most in limits.items() if most is not None}

    def _learn(self, chosen: Mapping[str, str], found: Candidate) -> None:
        """Let what was measured correct what the costs of an assignment are predicted to be."""
        cost = self._problem({}).cost(chosen)
        self._more_bytes += found.bytes - cost["bytes"]
        if found.seconds is not None and self._limits.seconds is not None:
            self._slower *= found.seconds / cost["seconds"]
