"""Measurements as tables for people and as dictionaries for ``--result-json``."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgecomp.bench.compare import Comparison
from edgecomp.bench.runner import CallTime, Measurement
from edgecomp.bench.statistics import Summary
from edgecomp.bench.verify import OutputCheck

#: ``schedule`` of a call that no schedule claimed.
FALLBACK = "fallback"
_MIB = 1 << 20
_NS_PER_MS = 1e6
_WRONG = "{}: its output is far from the float model's; its time may be of another network"


@dataclasses.dataclass(frozen=True)
class ProfileRow:
    """Calls of one source line and operator.

    Attributes:
        source: ``file.py:line``, or the ONNX nodes where the model has no source lines.
        operator: what they compute.
        schedules: by what.
        fallback: whether one of them runs through the fallback.
        calls: how many.
        mean_ns: of one run of the model, all of them together.
        share: of the time of all calls.
        multiply_adds: of all of them.
    """

    source: str
    operator: str
    schedules: tuple[str, ...]
    fallback: bool
    calls: int
    mean_ns: float
    share: float
    multiply_adds: int


def group_profile(calls: Sequence[CallTime]) -> list[ProfileRow]:
    """Group calls by source line and operator, the slowest group first."""
    groups: dict[tuple[str, str], list[CallTime]] = {}
    for call in calls:
        groups.setdefault((call.source or call.nodes, call.operator), []).append(call)
    total = sum(call.mean_ns for call in calls) or 1.0
    rows = [_profile_row(key, group, total) for key, group in groups.items()]
    return sorted(rows, key=lambda row: -row.mean_ns)


def fallback_share(calls: Sequence[CallTime]) -> float:
    """Part of the measured time that goes through the fallback."""
    total = sum(call.mean_ns for call in calls)
    return sum(c.mean_ns for c in calls if c.schedule == FALLBACK) / total if total else 0.0


def measurement_dict(measurement: Measurement) -> dict[str, Any]:
    """Everything measured, times in nanoseconds."""
    content = dataclasses.asdict(measurement)
    content["profile"] = [dataclasses.asdict(r) for r in group_profile(measurement.calls)]
    content["fallback_share"] = fallback_share(measurement.calls)
    return content


def comparison_dict(comparison: Comparison) -> dict[str, Any]:
    """Everything compared, times in nanoseconds."""
    return dataclasses.asdict(comparison)


def checks_dict(checks: Sequence[OutputCheck]) -> list[dict[str, Any]]:
    """Golden vectors compared."""
    return [dataclasses.asdict(check) for check in checks]


def measurement_view(measurement: Measurement, *, rows: int = 20) -> RenderableType:
    """Tables of one measurement: times, then the slowest lines of the profile."""
    options = measurement.options
    table = Table(
        title=f"{measurement.device}, {options.threads} thread(s), {options.num_runs} runs"
    )
    for column in ("", "p50 ms", "p90 ms", "p99 ms", "min ms", "spread"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("clock", *_summary_cells(measurement.wall))
    table.add_row("processor", *_summary_cells(measurement.cpu))
    facts = Text(
        f"load {_ms(measurement.load_ns)} ms, first run {_ms(measurement.first_run_ns)} ms"
    )
    if measurement.peak_rss_bytes:
        facts.append(f", peak memory {measurement.peak_rss_bytes / _MIB:.1f} MiB")
    if measurement.emulated:
        facts.append("\nemulated: these are not the times of a device", style="bold")
    parts: list[RenderableType] = [table, facts]
    if measurement.calls:
        parts.append(_profile_table(measurement.calls, rows))
    return Group(*parts)


def comparisons_view(comparisons: Sequence[Comparison]) -> RenderableType:
    """One line per engine, then each ratio in words."""
    first = comparisons[0]
    unit = "processor" if first.clock == "cpu" else "clock"
    table = Table(
        title=f"{unit} time per run, {first.threads} thread(s), "
        f"{first.ratio.rounds} rounds in turns"
    )
    columns = ("", "p50 ms", "p90 ms", "p99 ms", "min ms", "spread", "SQNR dB", "runs")
    for column in columns:
        table.add_column(column, justify="left" if column in ("", "runs") else "right")
    table.add_row(
        "edgecomp", *_summary_cells(first.own), _decibels(first.own_sqnr_db), "bundle"
    )
    for comparison in comparisons:
        label = f"{comparison.engine} {comparison.engine_version}"
        cells = _summary_cells(comparison.other)
        # Text, not markup: file names may hold square brackets.
        form = Text(comparison.form)
        table.add_row(label, *cells, _decibels(comparison.other_sqnr_db), form)
    lines = [Text(ratio_sentence(comparison)) for comparison in comparisons]
    lines += [Text(_WRONG.format(c.engine), "bold") for c in comparisons if not c.same_network]
    return Group(table, *lines)


def ratio_sentence(comparison: Comparison) -> str:
    """The answer in one line."""
    ratio = comparison.ratio
    interval = f"(95 % between {ratio.low:.3f} and {ratio.high:.3f})"
    if ratio.inconclusive:
        return (
            f"inconclusive: {comparison.engine} takes {ratio.value:.3f} times the time of "
            f"edgecomp {interval}"
        )
    if ratio.value >= 1:
        return f"edgecomp is {ratio.value:.3f} times as fast as {comparison.engine} {interval}"
    slower = f"(95 % between {1 / ratio.high:.3f} and {1 / ratio.low:.3f})"
    return f"{comparison.engine} is {1 / ratio.value:.3f} times as fast as edgecomp {slower}"


def checks_view(checks: Sequence[OutputCheck]) -> RenderableType:
    """One line per output of each golden vector."""
    table = Table(title="golden vectors")
    table.add_column("vector", justify="right")
    table.add_column("output")
    table.add_column("largest difference", justify="right")
    table.add_column("allowed", justify="right")
    for check in checks:
        allowed = f"{check.tolerance:.3g}" if check.tolerance else "equal"
        table.add_row(
            str(check.vector), Text(check.output), f"{check.largest_difference:.3g}", allowed
        )
    return table


def _profile_row(
    key: tuple[str, str], group: Sequence[CallTime], total_ns: float
) -> ProfileRow:
    mean = sum(call.mean_ns for call in group)
    return ProfileRow(
        source=key[0],
        operator=key[1],
        schedules=tuple(sorted({call.schedule for call in group})),
        fallback=any(call.schedule == FALLBACK for call in group),
        calls=len(group),
        mean_ns=mean,
        share=mean / total_ns,
        multiply_adds=sum(call.multiply_adds for call in group),
    )


def _profile_table(calls: Sequence[CallTime], rows: int) -> Table:
    groups = group_profile(calls)
    title = f"slowest {min(rows, len(groups))} of {len(groups)} lines"
    share = fallback_share(calls)
    if share:
        title += f"; {share:.1%} of the time in fallbacks"
    table = Table(title=title)
    columns: Sequence[tuple[str, Callable[[ProfileRow], str], bool]] = (
        ("source", lambda row: row.source, False),
        ("operator", lambda row: row.operator, False),
        ("schedule", lambda row: ", ".join(row.schedules), False),
        ("calls", lambda row: str(row.calls), True),
        ("ms", lambda row: _ms(row.mean_ns), True),
        ("share", lambda row: f"{row.share:.1%}", True),
        ("GMAC/s", _rate, True),
    )
    for name, _, right in columns:
        table.add_column(name, justify="right" if right else "left")
    for row in groups[:rows]:
        # Text, not markup: names of nodes may hold square brackets.
        style = "bold red" if row.fallback else ""
        table.add_row(*(Text(cell(row), style) for _, cell, _ in columns))
    return table


def _rate(row: ProfileRow) -> str:
    return (
        f"{row.multiply_adds / row.mean_ns:.1f}" if row.multiply_adds and row.mean_ns else ""
    )


def _summary_cells(summary: Summary) -> list[str]:
    times = (summary.p50_ns, summary.p90_ns, summary.p99_ns, summary.minimum_ns)
    return [*(_ms(t) for t in times), f"{summary.spread:.1%}"]


def _decibels(value: float | None) -> str:
    return "other sizes" if value is None else f"{value:.1f}"


def _ms(ns: float) -> str:
    """Milliseconds: three decimals, or three digits where that would leave none."""
    ms = ns / _NS_PER_MS
    return f"{ms:.3f}" if ms >= 1 or not ms else f"{ms:.3g}"
