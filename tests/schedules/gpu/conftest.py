"""Tests that compute run as OpenCL, as CUDA C, as Metal and as WGSL."""

import pytest
from helpers.gpu import compute, current_target, use_api


def pytest_generate_tests(metafunc):
    """Parametrize by the interface where the test's module computes."""
    names = vars(metafunc.module)
    if names.get("compute") is compute or names.get("current_target") is current_target:
        metafunc.parametrize("gpu_api", ["opencl", "cuda", "metal", "webgpu"], indirect=True)


@pytest.fixture(autouse=True)
def gpu_api(request):
    """Let ``compute`` run one of them."""
    use_api(getattr(request, "param", "opencl"))
    yield
    use_api("opencl")
