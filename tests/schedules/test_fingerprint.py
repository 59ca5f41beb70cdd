"""Which kernels the layers of real networks get, as golden text.

A change that shows here is no fault: read what it changed, then renew the text with
``pytest tests/schedules/test_fingerprint.py --update-golden``. What the compiler then makes of
the kernels is compared by ``tests/benchmarks/fingerprint.py``.
"""

import pytest
from helpers.fingerprint import TARGETS, lines_of, text_of


@pytest.mark.parametrize("target", TARGETS)
def test_kernels(target, golden):
    golden(text_of(lines_of(TARGETS[target]())))
