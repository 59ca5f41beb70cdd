"""The best precision of every layer under budgets, as an integer linear program.

    x[l, f] = 1 where layer l has form f, 0 elsewhere
    sum over f of x[l, f] = 1                                  for every layer
    sum of noise, of bytes, of seconds <= what is allowed      where something is
    minimise one of the three

A value that passes from a layer in integers to one in float, or back, is converted once however
many layers read it. With s[l] = 1 where l is integer, the conversions of a value are

    into[v] >= s[reader] - s[producer]        out[v] >= s[producer] - s[reader]

for each of its readers, and take seconds. The program is solved exactly (branch and bound, HiGHS).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecomp.graph.labeling import Flow, flow_cost

#: What an assignment costs, and what may be limited or minimised.
COSTS = ("noise", "bytes", "seconds")
#: Of the costs that are not minimised: enough to choose among equals, too little for more.
_TIE = 1e-7

Real = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Form:
    """One way to compute a layer.

    Attributes:
        noise: that it adds to the outputs.
        bytes: of its weights as stored.
        seconds: of its kernels.
        integer: whether it reads and gives stored integers.
    """

    noise: float
    bytes: float
    seconds: float
    integer: bool = False


@dataclasses.dataclass(frozen=True)
class Problem:
    """The layers and what lies between them.

    Attributes:
        layers: name -> precision -> form; a layer has one at least.
        flows: values between layers; their indices count ``layers``.
        bytes: of weights that no layer decides about.
        seconds: of all that no layer decides about.
    """

    layers: Mapping[str, Mapping[str, Form]]
    flows: Sequence[Flow] = ()
    bytes: float = 0.0
    seconds: float = 0.0

    def cost(self, chosen: Mapping[str, str]) -> dict[str, float]:
        """What an assignment costs, by ``COSTS``."""
        forms = [self.layers[name][chosen[name]] for name in self.layers]
        integer = [form.integer for form in forms]
        return {
            "noise": sum(form.noise for form in forms),
            "bytes": self.bytes + sum(form.bytes for form in forms),
            "seconds": self.seconds
            + sum(form.seconds for form in forms)
            + sum(flow_cost(flow, integer) for flow in self.flows),
        }


def assign(
    problem: Problem, limits: Mapping[str, float], objective: str
) -> dict[str, str] | None:
    """The assignment with the least of one cost within limits of the others.

    Args:
        problem: layers, forms, conversions.
        limits: cost of ``COSTS`` -> most that is allowed.
        objective: cost that is minimised; among equals the others decide.

    Returns:
        Layer -> precision, None where no assignment is within the limits.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    program = _Program(problem)
    if not program.places:
        within = all(problem.cost({})[c] <= most for c, most in limits.items())
        return {} if within else None
    rows, lows, highs = program.structure()
    for cost, most in limits.items():
        row, fixed = program.costs[cost]
        scale = max(abs(most - fixed), float(np.abs(row).max()), np.finfo(float).tiny)
        rows.append(row / scale)
        lows.append(-np.inf)
        highs.append((most - fixed) / scale)
    goal = np.zeros(program.size)
    for cost, (row, _) in program.costs.items():
        largest = float(np.abs(row).max())
        if largest:
            goal += row / largest * (1.0 if cost == objective else _TIE)
    solved: Any = milp(
        goal,
        constraints=LinearConstraint(np.array(rows), np.array(lows), np.array(highs)),
        integrality=program.integrality,
        bounds=Bounds(0.0, 1.0),
        options={"mip_rel_gap": 0.0},
    )
    return None if solved.x is None else program.chosen(solved.x)


class _Program:
    """Numbers of the variables: the forms of every layer, then both conversions of every flow.

    Attributes:
        places: layer and precision of each of the first variables.
        size: variables in all.
        costs: cost -> its coefficients, and what is fixed.
        integrality: 1 for each variable that is 0 or 1.
    """

    def __init__(self, problem: Problem) -> None:
        self.places = [(n, p) for n, forms in problem.layers.items() for p in forms]
        self._problem = problem
        forms = [problem.layers[name][precision] for name, precision in self.places]
        self.size = len(forms) + 2 * len(problem.flows)
        self.integrality = np.zeros(self.size)
        self.integrality[: len(forms)] = 1
        conversions = [c for flow in problem.flows for c in (flow.to_special, flow.to_plain)]
        nothing = [0.0] * len(conversions)
        self.costs = {
            "noise": (np.array([*(f.noise for f in forms), *nothing]), 0.0),
            "bytes": (np.array([*(f.bytes for f in forms), *nothing]), problem.bytes),
            "seconds": (
                np.array([*(f.seconds for f in forms), *conversions]),
                problem.seconds,
            ),
        }

    def structure(self) -> tuple[list[Real], list[float], list[float]]:
        """Rows and bounds of what holds for every assignment."""
        rows, lows, highs = [], [], []
        for name in self._problem.layers:
            row = np.zeros(self.size)
            row[[i for i, (layer, _) in enumerate(self.places) if layer == name]] = 1.0
            rows.append(row)
            lows.append(1.0)
            highs.append(1.0)
        integer = self._integer_rows()
        for index, flow in enumerate(self._problem.flows):
            into = len(self.places) + 2 * index
            producer = np.zeros(self.size)
            if flow.producer is not None:
                producer = integer[flow.producer]
            differences = [(integer[reader] - producer, into) for reader in flow.readers]
            if flow.producer is not None:
                readers = [integer[reader] for reader in flow.readers]
                readers += [np.zeros(self.size)] if flow.plain_reader else []
                differences += [(producer - reader, into + 1) for reader in readers]
            for row, variable in differences:
                converted = -row
                converted[variable] += 1.0
                rows.append(converted)
                lows.append(0.0)
                highs.append(np.inf)
        return rows, lows, highs

    def chosen(self, values: Real) -> dict[str, str]:
        """Layer -> the precision whose variable is largest."""
        best: dict[str, tuple[float, str]] = {}
        for (name, precision), value in zip(self.places, values, strict=False):
            if name not in best or value > best[name][0]:
                best[name] = (value, precision)
        return {name: precision for name, (_, precision) in best.items()}

    def _integer_rows(self) -> list[Real]:
        """Of each layer: 1 at the forms that are integer."""
        rows = {name: np.zeros(self.size) for name in self._problem.layers}
        for index, (name, precision) in enumerate(self.places):
            if self._problem.layers[name][precision].integer:
                rows[name][index] = 1.0
        return list(rows.values())
