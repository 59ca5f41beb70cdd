"""Functions of users: every form of them, and everything that can be wrong with one."""

import numpy as np
import pytest

from edgecomp.budget.metric import Metric, ModelRun
from edgecomp.errors import Code, EdgecompError

DATA = [{"x": np.ones((1, 2), np.float32)}] * 3


@pytest.fixture
def model():
    """y = 2 x + n, of x [1, 2] and n [1]."""
    inputs = {"x": ((1, 2), np.dtype(np.float32)), "n": ((1,), np.dtype(np.int64))}
    return ModelRun(lambda f: {"y": 2 * f["x"] + f["n"], "n": f["n"]}, inputs, ["y"])


@pytest.fixture
def metric(tmp_path):
    """metric("def f(run): ...") -> Metric of the last function."""

    def make(text, name="f"):
        path = tmp_path / "metric.py"
        path.write_text(text)
        found = Metric(f"{path}:{name}")
        return lambda run, what="the float model": found(run, DATA, what)

    return make


def test_every_way_to_run_it(model):
    x, n = np.ones((1, 2)), np.array([1])
    for found in (
        model({"x": x, "n": n}),
        model(x, n),
        model(x=x, n=n),
        model({"x": x}, n=n),
        model(x[0], 1),
    ):
        assert list(found) == ["y"]
        np.testing.assert_array_equal(found["y"], [[3, 3]])
    np.testing.assert_array_equal(model.run(None, {"x": x, "n": n})[0], [[3, 3]])
    assert len(model.run(["y"], {"x": x, "n": n})) == 1
    assert model.inputs == ("x", "n")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (({"x": np.ones((1, 2))},), "'n' is missing"),
        (({"z": 1},), "no input is named 'z'"),
        ((1, 2, 3), "3 arrays for 2 inputs"),
        ((np.ones((2, 2)), [1]), "takes [1, 2], not [2, 2]"),
        ((np.ones((2, 1)), [1]), ""),
        ((np.ones((1, 2)), [1.5]), "takes int64, not float64"),
    ],
)
def test_what_does_not_fit_is_named(model, given, text):
    if not text:  # only dimensions of 1 differ
        assert model(*given)["y"].shape == (1, 2)
        return
    with pytest.raises(EdgecompError) as caught:
        model(*given)
    assert caught.value.code is Code.INPUT_MISMATCH
    assert text in caught.value.cause


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def f(run): return 0.5", 0.5),
        ("def f(run, data): return len(list(data))", 3.0),
        ("def f(run, samples=7): return samples", 7.0),
        ("def f(run, data=None): return len(data)", 3.0),
        ("import numpy as np\ndef f(run): return np.float32(0.25)", 0.25),
        ("import numpy as np\ndef f(run): return np.array([2])", 2.0),
        ("def f(run): return 0.5, [1, 0]", 0.5),
        ("class F:\n  def __call__(self, run): return 1\nf = F()", 1.0),
        ("from functools import partial\ndef g(k, run): return k\nf = partial(g, 4)", 4.0),
    ],
)
def test_numbers(metric, model, text, found):
    assert metric(text)(model).value == found


@pytest.mark.parametrize(
    ("returned", "scores"),
    [
        ("0.5, [1, 0]", [1.0, 0.0]),
        ("0.5, np.array([True, False])", [1.0, 0.0]),
        ("0.5, iter([1])", None),
        ("0.5, [float('nan')]", None),
        ("0.5, [[1, 0]]", None),
        ("0.5, 'detail'", None),
        ("0.5", None),
    ],
)
def test_scores_of_samples(metric, model, returned, scores):
    found = metric(f"import numpy as np\ndef f(run): return {returned}")(model)
    assert found.value == 0.5
    assert (found.scores is None) == (scores is None)
    if scores is not None:
        assert found.scores.tolist() == scores


def test_the_samples_can_be_fed(metric, model):
    text = "def f(run, data): return float(sum(run(s, n=1)['y'].sum() for s in data))"
    assert metric(text)(model).value == 18.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def f(run): return None", "returned None for the float model"),
        ("def f(run): return float('nan')", "returned nan"),
        ("def f(run): return float('inf')", "returned inf"),
        ("def f(run): return '0.5'", "returned str"),
        ("def f(run): return True", "returned bool"),
        ("def f(run): return ()", "returned tuple"),
        ("import numpy as np\ndef f(run): return np.ones(3)", "ndarray of shape [3]"),
        ("class A:\n  def item(self): return [1][1]\ndef f(run): return A()", "returned A"),
        ("def f(run): return {'a': 1}", "returned dict"),
        ("def f(run): raise SystemExit(1)", "SystemExit"),
        ("def f(): return 1", "TypeError"),
        ("def f(run): return run(1)", "input 'n' is missing"),
    ],
)
def test_no_number(metric, model, text, words):
    with pytest.raises(EdgecompError) as caught:
        metric(text)(model)
    assert caught.value.code is Code.METRIC_INVALID
    assert words in caught.value.cause
    assert caught.value.path.endswith("metric.py")


def test_a_traceback_is_shown(metric, model):
    text = "def g(x):\n    return x / 0\n\n\ndef f(run):\n    return g(1)\n"
    with pytest.raises(EdgecompError) as caught:
        metric(text)(model, "3 layers in float")
    error = caught.value
    assert error.cause.startswith("f() failed on 3 layers in float: ZeroDivisionError")
    assert "return g(1)" in error.cause
    assert "return x / 0" in error.cause
    assert error.source == "metric.py:2"


@pytest.mark.parametrize(
    ("text", "name", "code", "words"),
    [
        ("def f(run): return 1", "g", Code.METRIC_INVALID, "no function 'g'"),
        ("f = 1", "f", Code.METRIC_INVALID, "no function 'f'"),
        ("def f(:", "f", Code.METRIC_INVALID, "SyntaxError"),
        ("import not_there", "f", Code.METRIC_INVALID, "ModuleNotFoundError"),
        ("", "", Code.USAGE, "names no function"),
    ],
)
def test_no_function(metric, text, name, code, words):
    with pytest.raises(EdgecompError) as caught:
        metric(text, name)
    assert caught.value.code is code
    assert words in caught.value.cause


def test_no_file(tmp_path):
    for spec, code in ((f"{tmp_path}/x.py:f", Code.FILE_MISSING), ("module:f", Code.USAGE)):
        with pytest.raises(EdgecompError) as caught:
            Metric(spec)
        assert caught.value.code is code
