"""Ranges that the metric chooses: half of the samples choose what the others surely prefer too."""

import numpy as np
import onnx_ir as ir
import pytest
from helpers.graphs import normal
from helpers.unread_channel import two_products_without_channel_0

from edgecomp import api
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.run import Runner
from edgecomp.options import BudgetOptions, QuantizeOptions
from edgecomp.steps.ranges_by_metric import LEAST_SCORES

METRIC = """
import pathlib
import numpy as np

DATA = np.load(pathlib.Path(__file__).with_name("labelled.npz"))


def errors(run):
    found = [run(x)[run.outputs[0]] for x in DATA["x"]]
    each = [float(((a - b) ** 2).mean()) for a, b in zip(found, DATA["y"], strict=True)]
    return float(np.mean(each)), each


def likeness(run):
    value, each = errors(run)
    return -value, [-error for error in each]


def likeness_of_every_second(run):
    value, each = likeness(run)
    return value, [score if index % 2 == 0 else 0.0 for index, score in enumerate(each)]


def alone(run):
    return likeness(run)[0]


def too_few(run):
    value, each = likeness(run)
    return value, each[:-1]


CALLS = []


def more_each_time(run):
    CALLS.append(0)
    value, each = likeness(run)
    return value, each + CALLS
"""

OUTLIER = 300.0


@pytest.fixture
def model(rng):
    return two_products_without_channel_0(rng)


@pytest.fixture
def samples(rng):
    """Too few for a build to try other ranges by itself; channel 0 is large in one row of each."""
    feeds = [{"x": normal(rng, 1, 64, 32)} for _ in range(12)]
    for feed in feeds:
        feed["x"][0, 0, 0] = OUTLIER
    return feeds


@pytest.fixture
def search(model, rng, samples, tmp_path):
    """search("likeness", ...) -> options and report, with what float gives as the truth."""
    runner = Runner(model)
    x = normal(rng, LEAST_SCORES, 1, 64, 32)
    y = np.stack([runner({"x": each})[runner.names[0]] for each in x])
    np.savez(tmp_path / "labelled.npz", x=x, y=y)
    (tmp_path / "metric.py").write_text(METRIC)

    def start(function, **settings):
        options = BudgetOptions(
            **{
                "precision": "w8a8",
                "metric": f"{tmp_path / 'metric.py'}:{function}",
                "ranges_by_metric": True,
                **settings,
            }
        )
        recipe = tmp_path / "recipe.yaml"
        given = {"calibration_dataset": samples, "recipe": recipe}
        return api.within_budget(model.clone(), options, **given)

    return start


def text(model):
    return ir.to_proto(model).SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ("function", "direction"), [("likeness", "higher-better"), ("errors", "lower-better")]
)
def test_what_is_surely_better_is_taken(search, model, samples, tmp_path, function, direction):
    chosen, report = search(function, metric_direction=direction)
    assert report.ranges.taken
    assert report.ranges.best.endswith("by percentile 99.9")
    assert report.ranges.samples == LEAST_SCORES
    assert report.ranges.gain > 2 * report.ranges.error > 0
    assert report.best.drop < report.candidates[0].drop
    assert report.best.precisions == {"w8a8": 2}
    assert report.lines()[1].startswith("ranges by the metric: ranges ")
    assert report.lines()[1].endswith(": taken")
    assert report.as_dict()["ranges_by_metric"]["taken"]
    # The file repeats it without the metric.
    built = api.quantize(model.clone(), samples, options=chosen)
    alone = QuantizeOptions(recipe=tmp_path / "recipe.yaml", precision="w8a8")
    assert text(api.quantize(model.clone(), samples, options=alone)) == text(built)
    plain = api.quantize(model.clone(), samples, options=QuantizeOptions(precision="w8a8"))
    assert text(plain) != text(built)


def test_what_only_the_choosing_samples_say_is_left_out(search):
    _, report = search("likeness_of_every_second")
    assert report.ranges.best
    assert report.ranges.tried[report.ranges.best] > 0
    assert report.ranges.gain == 0
    assert not report.ranges.taken
    assert report.chosen == 0
    assert [step["pass"] for step in report.recipe] == ["quantize"]
    assert "not sure, left out" in report.lines()[1]


def test_where_nothing_is_better_nothing_changes(search, samples):
    for feed in samples:
        feed["x"][0, 0, 0] = 1.0
    _, report = search("likeness")
    assert not report.ranges.taken
    assert report.chosen == 0
    assert report.best.drop < 1.0


@pytest.mark.parametrize("limits", [{"max_bytes": 3000}, {"max_drop": "1.0"}])
def test_limits_hold_behind_it(search, limits):
    _, report = search("likeness", **limits)
    assert report.ranges.taken
    assert report.best.holds(report.limits)
    methods = [step.get("args", {}).get("calibration_method") for step in report.recipe]
    assert "percentile" in methods


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("alone", "scores of 100 samples at least, not none"),
        ("too_few", "at least, not 99"),
        ("more_each_time", "where it had given 102 before"),
    ],
)
def test_scores_that_cannot_tell(search, function, words):
    with pytest.raises(EdgecompError) as caught:
        search(function)
    assert caught.value.code is Code.METRIC_INVALID
    assert words in caught.value.cause
    assert "(number, scores)" in caught.value.hint
