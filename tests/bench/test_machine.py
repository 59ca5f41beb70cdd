"""Machines in words."""

from edgecomp.bench.devices import open_device
from edgecomp.bench.machine import machine_in_words

XEON = """processor	: 0
vendor_id	: GenuineIntel
cpu family	: 6
model		: 207
model name	: Intel(R) Xeon(R) Processor
stepping	: 2

processor	: 1
cpu family	: 6
model		: 207
model name	: Intel(R) Xeon(R) Processor
stepping	: 2
"""
ARM = """processor	: 0
BogoMIPS	: 108.00
CPU implementer	: 0x41
CPU variant	: 0x4
CPU part	: 0xd0b

Model		: Raspberry Pi 5 Model B Rev 1.0
"""


def test_x86():
    assert machine_in_words("", XEON) == (
        "Intel(R) Xeon(R) Processor, cpu family 6, model 207, stepping 2, 2 processors"
    )


def test_arm():
    parts = "CPU implementer 0x41, CPU part 0xd0b, CPU variant 0x4, 1 processor"
    assert machine_in_words("", ARM) == f"Raspberry Pi 5 Model B Rev 1.0, {parts}"
    assert machine_in_words("Some Board\0", ARM) == f"Some Board, {parts}"


def test_nothing_known():
    assert machine_in_words("", "") == "unknown"


def test_this_machine():
    assert open_device("local", None).describe() not in ("", "unknown")
