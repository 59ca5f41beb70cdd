"""Calibration of a model as the options say, and what is to be said about it."""

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from edgecomp.cache_folder import cache_folder
from edgecomp.calibrate.data_free import DataFree, data_free
from edgecomp.calibrate.lint import Finding, Subject, lint
from edgecomp.calibrate.observe import Seen, collect_ranges, samples_known
from edgecomp.calibrate.ranges import Range
from edgecomp.calibrate.readers import DEFAULT_SAMPLES, CalibrationSet, open_calibration
from edgecomp.calibrate.settle import Choice
from edgecomp.calibrate.store import Store
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.example import example_feeds
from edgecomp.options import QuantizeOptions
from edgecomp.progress import Progress

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Ranges and what they come from.

    Attributes:
        ranges: by the value's name.
        samples: which can be read again where their source allows it.
        facts: for the manifest and the report.
        others: ranges by the further choices asked for.
    """

    ranges: dict[str, Range]
    samples: CalibrationSet
    facts: dict[str, Any]
    others: dict[Choice, dict[str, Range]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Samples:
    """Samples that are there, or made up.

    Attributes:
        feeds: of the model's inputs.
        made_up: where they come from, with ``data_free``.
    """

    feeds: CalibrationSet
    made_up: DataFree | None = None


def open_samples(model: ir.Model, options: QuantizeOptions, source: Any) -> Samples:
    """Open a calibration set, or make one up.

    Args:
        model: float, after its passes.
        options: how samples are read.
        source: of the samples; None with ``data_free``.

    Raises:
        EdgecompError: CALIBRATION_EMPTY, CALIBRATION_INVALID.
    """
    made_up = None
    if options.data_free and source is None:
        made_up = data_free(model, options.num_samples, options.seed)
        source = made_up.samples
    feeds = open_calibration(
        source,
        model.graph.inputs,
        num_samples=options.num_samples,
        mean=options.mean or None,
        std=options.std or None,
        resize=options.resize,
    )
    if made_up is not None:
        feeds.requested = len(made_up.samples)
    return Samples(feeds, made_up)


def calibrate(
    model: ir.Model,
    options: QuantizeOptions,
    given: Samples,
    values: Sequence[str],
    progress: Progress,
    choices: Mapping[str, Choice] | None = None,
    others: Iterable[Choice] = (),
) -> Calibration:
    """Choose the ranges of values, and warn about samples that look wrong.

    Args:
        model: float, after its passes.
        options: method, tolerance.
        given: samples, from ``open_samples``.
        values: names.
        progress: told about every sample.
        choices: see ``collect_ranges``.
        others: methods and percentiles that ranges are wanted by as well.

    Raises:
        EdgecompError: CALIBRATION_EMPTY, CALIBRATION_INVALID, CALIBRATION_DOUBTFUL.
    """
    samples, made_up = given.feeds, given.made_up
    seen = Seen(others)
    ranges = collect_ranges(
        made_up.model if made_up is not None else model,
        samples,
        method=options.calibration_method,
        percentile=options.calibration_percentile,
        values=values,
        choices=choices,
        progress=lambda done, total: progress("calibrate", done, total or 0),
        tolerance=options.calibration_tolerance,
        store=Store((getattr(options, "cache_dir", None) or cache_folder()) / "calibrations"),
        seen=seen,
    )
    if not samples.first:  # they were observed before, and not read now
        samples.read_first()
    already_said = samples.used < samples.requested
    samples.used = seen.samples
    if made_up is not None:
        logger.warning("data-free: ranges come from made-up inputs; measure the accuracy")
        return Calibration(ranges, samples, {"samples": seen.samples, **made_up.facts})
    found = lint(_subject(model, options, seen))
    _tell(found, strict=options.strict_calibration, quiet=already_said)
    return Calibration(ranges, samples, _facts(seen, samples, found), seen.others)


def _subject(model: ir.Model, options: QuantizeOptions, seen: Seen) -> Subject:
    # Nobody asked for the number that holds by default.
    asked = options.num_samples if options.num_samples != DEFAULT_SAMPLES else 0
    return Subject(
        requested=asked,
        samples=seen.samples,
        complete=not seen.settled,
        repeated=seen.repeated,
        inputs=seen.inputs,
        examples=example_feeds(model),
        drifts=seen.drifts,
    )


def _tell(found: Sequence[Finding], *, strict: bool, quiet: bool) -> None:
    if strict and found:
        raise EdgecompError(
            Code.CALIBRATION_DOUBTFUL,
            "\n".join(f"{finding.check}: {finding.text}" for finding in found),
            hint=found[0].hint,
        )
    for finding in found:
        if not (quiet and finding.check == "fewer-samples"):
            logger.warning("calibration: %s", finding)


def _facts(seen: Seen, samples: CalibrationSet, found: Sequence[Finding]) -> dict[str, Any]:
    facts: dict[str, Any] = {"samples": seen.samples}
    if seen.settled:
        known = samples_known(samples)
        if known is not None:
            facts["samples_left"] = known - seen.samples
        facts["stopped"] = "the last doubling of the samples changed no range noticeably"
    if found:
        facts["calibration_warnings"] = [f"{f.check}: {f}" for f in found]
    return facts
