"""What is said where no candidate is within the budgets."""

from collections.abc import Mapping

from edgecomp.budget.result import Candidate, Limits, describe
from edgecomp.errors import Code, EdgecompError
from edgecomp.steps.budget_measure import Measures


def out_of_reach(
    limits: Limits,
    least: Mapping[str, float],
    measures: Measures,
    nearest: Candidate | None = None,
) -> EdgecompError:
    """No assignment has so few bytes, or takes so little time.

    Args:
        limits: that were given.
        least: of bytes and of seconds, by itself.
        measures: what was measured.
        nearest: the candidate that came nearest, where one was built for that.
    """
    lines, hints = [], []
    code = Code.POLICY_GATE
    if limits.bytes is not None:
        reached = round(least["bytes"])
        lines.append(f"--max-bytes {limits.bytes}: the stored weights take {reached} at least")
        hints.append(f"--max-bytes {reached}")
    if limits.seconds is not None:
        reached_ms = least["seconds"] * 1e3
        how = "measured" if measures.runs_here else "modelled"
        lines.append(
            f"--max-ms {limits.seconds * 1e3:g}: one inference takes {reached_ms:.4g} ms at "
            f"least, {how} for {measures.pricing.target.name if measures.pricing.target else 'the target'}"
        )
        hints.append(f"--max-ms {_up(reached_ms)}")
        over = limits.bytes is None or least["bytes"] <= limits.bytes
        if least["seconds"] > limits.seconds or over:
            code = Code.LATENCY_GATE
    lines.append(f"nearest: {describe(nearest or measures.candidates[0])}")
    return EdgecompError(
        code,
        "no precisions of the layers are within the budgets\n" + "\n".join(lines),
        hint=f"allow {' and '.join(hints)}, or prune the model first",
    )


def too_much_lost(limits: Limits, measures: Measures) -> EdgecompError:
    """No candidate keeps the metric within the drop that is allowed, and the other limits."""
    tried = measures.candidates
    others = Limits(None, limits.bytes, limits.seconds)
    within = [candidate for candidate in tried if candidate.holds(others)]
    best = min(within or tried, key=lambda c: (c.drop if c.drop is not None else 0.0, c.noise))
    lines = [
        f"no model with a layer in few bits loses at most {limits.drop:g}"
        + (" within the other budgets" if others != Limits() else "")
        + f": of {len(tried)} that were measured the best lost {best.drop:.4g}",
        f"float: metric {measures.float_metric:g}",
        f"best: {describe(best)}",
    ]
    hint = f"allow --max-drop {_up(best.drop or 0.0)}"
    if others != Limits():
        hint += ", or more bytes or time"
    return EdgecompError(
        Code.ACCURACY_GATE,
        "\n".join(lines),
        hint=f"{hint}; else give more typical calibration data, or train the model with "
        "quantization",
    )


def _up(value: float) -> str:
    """A number with three digits that is not below it."""
    text = f"{value:.3g}"
    return text if float(text) >= value else f"{value * 1.005:.3g}"
