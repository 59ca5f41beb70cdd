"""What the report says that a precision gains."""

import pytest

from edgecomp.device.load import load_target
from edgecomp.plan.prices import Price
from edgecomp.steps.gain import Form, gain_facts


def form(seconds, size):
    return Form([Price(("p",), seconds)], size)


HALF = "fp16 on host: weights take 0.50 of float's bytes in file and memory; "
NOTHING = "fp16 gains nothing on host: 1.00 of float's bytes, 1.00 of its time (modelled)"


@pytest.mark.parametrize(
    ("part_of_bytes", "part_of_time", "said"),
    [
        (0.5, 0.6, f"{HALF}a run takes 0.60 of float's time (modelled)"),
        (0.5, 1.0, f"{HALF}a run is not faster"),
        (0.5, 1.2, f"{HALF}a run is slower, 1.20 times float's (modelled)"),
        (1.0, 1.0, NOTHING),
    ],
)
def test_summary(part_of_bytes, part_of_time, said):
    plain, stored = form(1.0, 1000), form(part_of_time, int(1000 * part_of_bytes))
    facts = gain_facts("fp16", plain, stored, load_target("host"))
    assert facts["summary"] == said
    assert facts["time_over_float"] == part_of_time


def test_no_time_of_a_processor_for_a_gpu():
    facts = gain_facts("fp16", form(1.0, 1000), form(0.5, 500), load_target("generic-opencl"))
    assert facts["time_over_float"] is None
    assert "0.50 of float's bytes" in facts["summary"]
    assert facts["summary"].endswith("times on a GPU are not modelled")
