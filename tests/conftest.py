"""Shared fixtures: seeded random numbers, one hypothesis profile, golden text."""

import collections
import os
import pathlib
import sys

import hypothesis
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))  # tests import `helpers.*`

hypothesis.settings.register_profile(
    "edgecomp",
    deadline=None,  # the first example pays for imports and compilers
    derandomize=True,
    max_examples=int(os.environ.get("EDGECOMP_EXAMPLES", "16")),
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("edgecomp")

#: Modules of few tests that build whole models or run other programs for long.
_LONG = frozenset(
    {
        "test_digits.py",
        "test_efficientnet_lite0.py",
        "test_killed_builds.py",
        "test_large_models.py",
        "test_opencl.py",
        "test_readme.py",
        "test_real_models.py",
        "test_runtime.py",
        "test_same_bytes.py",
        "test_sources.py",
        "test_speed.py",
        "test_style.py",
        "test_trained_models.py",
    }
)


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files")


def pytest_configure(config):
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # modules are in order below


def pytest_collection_modifyitems(items):
    """Modules that take longest first, then those of most tests.

    ``pytest-xdist --dist loadscope`` hands modules out in this order; one that takes a minute and
    begins last leaves the other processors idle.
    """
    tests = collections.Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path.name not in _LONG, -tests[item.path]))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def golden(request):
    """Compare text with tests/golden/<folder>/<file>/<test>.txt."""

    def check(text):
        here = pathlib.Path(__file__).parent
        relative = request.path.relative_to(here).with_suffix("")
        path = here / "golden" / relative / f"{request.node.name}.txt"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"no golden file {path}: run with --update-golden"
        assert text == path.read_text()

    return check


_figures = []


@pytest.fixture
def figure(request):
    """Record a measured figure; all are printed at the end of the run.

    ``figure("arena of EfficientNet-Lite0", "1.01 x bound", "at most 1.05")``
    """

    def record(what, found, wanted=""):
        _figures.append((what, found, wanted))
        request.node.user_properties.append((what, f"{found} (wanted: {wanted})"))

    return record


def pytest_runtest_logreport(report):
    # Under pytest-xdist the figures of a worker travel with its reports.
    if report.when == "call":
        for what, text in report.user_properties:
            found, _, wanted = text.rpartition(" (wanted: ")
            entry = (what, found, wanted.removesuffix(")"))
            if entry not in _figures:
                _figures.append(entry)


def pytest_terminal_summary(terminalreporter):
    if not _figures:
        return
    terminalreporter.section("figures")
    width = max(len(what) for what, _, _ in _figures)
    for what, found, wanted in _figures:
        suffix = f"   (wanted: {wanted})" if wanted else ""
        terminalreporter.write_line(f"{what:<{width}}  {found}{suffix}")
