"""Tests that compute run as OpenCL, as CUDA C, as Metal and as WGSL."""

import pytest
from helpers.gpu import compute, current_target, use_api


def pytest_generate_tests(metafunc):
    """Parametrize by the interface where the test's module computes."""
    names = vars(metafunc.module)
    if names.get("compute") is compute or names.get("current_target") is current_target:
        metafunc.parametrize("gpu_api", ["opencl", "cuda", "metal", "webgpu"], indirect=True)


def pytest_collection_modifyitems(config, items):
    """Of each test its first case as Metal: a compiler takes most of a second for each."""
    seen, left = set(), []
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if parameters.get("gpu_api") == "metal":
            if (key := (item.path, item.originalname)) in seen:
                left.append(item)
            seen.add(key)
    if left:
        config.hook.pytest_deselected(items=left)
        dropped = set(map(id, left))
        items[:] = [item for item in items if id(item) not in dropped]


@pytest.fixture(autouse=True)
def gpu_api(request):
    """Let ``compute`` run one of them."""
    use_api(getattr(request, "param", "opencl"))
    yield
    use_api("opencl")
