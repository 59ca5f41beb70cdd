"""What no device of a target starts is refused while building."""

import pytest

from edgecomp.device.load import load_target
from edgecomp.errors import Code, EdgecompError
from edgecomp.lower.device_programs import device_programs
from edgecomp.plan.plan import Launch, LaunchKind
from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.schedule import KernelCall


@pytest.mark.parametrize(
    ("sizes", "group", "code", "said"),
    [
        (
            (8, 65536 * 4, 1),
            (8, 4, 1),
            Code.OPERATOR_UNSUPPORTED,
            "65536 groups of work items",
        ),
        ((2048, 1, 1), (2048, 1, 1), Code.INTERNAL, "2048 work items in a group"),
        (
            (1 << 20, 1 << 12, 1),
            (64, 1, 1),
            Code.OPERATOR_UNSUPPORTED,
            "4294967296 work items, a launch at most 4294967295",
        ),
    ],
)
def test_launches(sizes, group, code, said, tmp_path):
    launch = Launch(LaunchKind.KERNEL, sizes, group)
    call = KernelCall(Kernel("ec_gpu_large", lambda: None), (), 1, launch=launch)
    with pytest.raises(EdgecompError, match=said) as info:
        device_programs([call], load_target("cuda-sm90"), tmp_path)
    assert info.value.code is code


def test_no_calls_for_a_gpu_need_no_program(tmp_path):
    call = KernelCall(Kernel("ec_cpu", lambda: None), (), 1)
    assert device_programs([call], load_target("cuda-sm90"), tmp_path) == ()
