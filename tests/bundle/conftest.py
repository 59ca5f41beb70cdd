"""Bundles of the hand-made plan, one per target, built once."""

import pytest
from helpers.small_plan import write_small
from helpers.targets import A53, ARMV7, AVX2, reason_not_runnable


@pytest.fixture(scope="session", params=[AVX2, A53, ARMV7], ids=lambda t: t.name)
def target(request):
    if reason_not_runnable(request.param):
        pytest.skip(reason_not_runnable(request.param))
    return request.param


@pytest.fixture(scope="session")
def bundle(target, tmp_path_factory):
    return write_small(target, tmp_path_factory.mktemp(target.name) / "small")


@pytest.fixture(scope="session")
def host_bundle(tmp_path_factory):
    if reason_not_runnable(AVX2):
        pytest.skip(reason_not_runnable(AVX2))
    return write_small(AVX2, tmp_path_factory.mktemp("host") / "small")
