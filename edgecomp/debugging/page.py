"""A report as one HTML page with plots, which needs no other file and no network."""

import dataclasses
import functools
from collections.abc import Sequence

import jinja2

from edgecomp.debugging.distribution import Distribution
from edgecomp.debugging.result import DebugReport, LayerReport, db_text

#: Decibels at the bottom and at the top of the plot of layers.
_LOW_DB, _HIGH_DB = 0.0, 60.0
_PLOT_HEIGHT, _BAR_WIDTH, _BAR_STEP = 200.0, 8.0, 14.0
_HISTOGRAM_WIDTH, _HISTOGRAM_HEIGHT = 256.0, 72.0


@dataclasses.dataclass(frozen=True)
class Bar:
    """One layer in the plot: positions in pixels from the top left."""

    x: float
    alone_top: float
    accumulated_top: float
    label: str
    widened: bool
    anchor: str


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a histogram, in pixels from the top left."""

    x: float
    top: float
    width: float
    height: float


@dataclasses.dataclass(frozen=True)
class Histogram:
    """A tensor's values.

    Attributes:
        title: whose.
        facts: range, outliers and so on, in words.
        columns: the bars, as high as the root of their counts: rare values are what is sought.
        limits: where the stored range begins and ends, in pixels.
    """

    title: str
    facts: str
    columns: Sequence[Column]
    limits: Sequence[float]


@dataclasses.dataclass(frozen=True)
class Details:
    """A layer with its histograms."""

    report: LayerReport
    anchor: str
    histograms: Sequence[Histogram]


def page(report: DebugReport, recipe: str) -> str:
    """The page.

    Args:
        report: what was found.
        recipe: text of the suggested one.
    """
    in_order = sorted(report.layers, key=lambda each: each.place)
    widened = set((report.search.layers or ()) if report.search else ())
    template = _environment().get_template("debug.html.j2")
    return template.render(
        report=report,
        recipe=recipe,
        bars=[_bar(each, widened) for each in in_order],
        plot_width=_BAR_STEP * len(in_order) + 50,
        plot_height=_PLOT_HEIGHT,
        bar_width=_BAR_WIDTH,
        lines=[(db, _height(db)) for db in range(int(_LOW_DB), int(_HIGH_DB) + 1, 10)],
        details=[Details(each, _anchor(each), _histograms(each)) for each in report.layers],
        histogram_width=_HISTOGRAM_WIDTH,
        histogram_height=_HISTOGRAM_HEIGHT,
    )


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("edgecomp.debugging"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["db"] = db_text
    return environment


def _anchor(report: LayerReport) -> str:
    return f"layer{report.place}"


def _height(db: float) -> float:
    """Distance from the top of the plot."""
    share = (min(max(db, _LOW_DB), _HIGH_DB) - _LOW_DB) / (_HIGH_DB - _LOW_DB)
    return round(_PLOT_HEIGHT * (1.0 - share), 1)


def _bar(report: LayerReport, widened: set[str]) -> Bar:
    alone, accumulated = report.alone.sqnr_db, report.accumulated.sqnr_db
    return Bar(
        40 + _BAR_STEP * report.place,
        _height(alone),
        _height(accumulated),
        f"{report.layer.name} ({report.layer.operator}): alone {db_text(alone)} dB, "
        f"so far {db_text(accumulated)} dB",
        report.layer.name in widened,
        _anchor(report),
    )


def _histograms(report: LayerReport) -> list[Histogram]:
    found = []
    if report.weight_values is not None:
        found.append(_histogram(f"weights {report.layer.weight}", report.weight_values))
    for name, values in report.input_values.items():
        found.append(_histogram(f"reads {name} (range by {report.methods[name]})", values))
    return found


def _histogram(title: str, values: Distribution) -> Histogram:
    width = _HISTOGRAM_WIDTH / len(values.counts)
    highest = max(values.counts, default=0) ** 0.5 or 1.0
    columns = []
    for index, count in enumerate(values.counts):
        if count:
            height = max(1.0, _HISTOGRAM_HEIGHT * count**0.5 / highest)
            top = _HISTOGRAM_HEIGHT - height
            columns.append(Column(width * index, round(top, 1), width, round(height, 1)))
    facts = f"{values.low:.4g} to {values.high:.4g}, outlier ratio {values.outlier_ratio:.2f}"
    if values.clipped is not None and values.stored is not None:
        facts += (
            f"; stored {values.stored[0]:.4g} to {values.stored[1]:.4g}, "
            f"{100 * values.clipped:.3g} % clipped"
        )
    return Histogram(title, facts, columns, _limits(values))


def _limits(values: Distribution) -> list[float]:
    extent = values.high - values.low
    if values.stored is None or not extent > 0:
        return []
    places = ((end - values.low) / extent * _HISTOGRAM_WIDTH for end in values.stored)
    return [round(min(max(place, 0.0), _HISTOGRAM_WIDTH), 1) for place in places]
