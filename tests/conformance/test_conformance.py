"""CPU tests of the ONNX backend suite, built for this machine and run in the runtime.

``python tests/conformance/run.py`` runs every one of them in one process and prints a table; with
``--update`` it rewrites the list of failures.
"""

import pytest
from conformance.compiled import run_cases
from conformance.reasons import REASONS, read_list
from conformance.suite import KINDS, batches, case, names

LISTED = read_list()


def test_every_reason_is_one_of_the_groups():
    assert set(LISTED.values()) <= set(REASONS)


def test_the_list_has_no_strangers():
    known = {name for kind in KINDS for name in names(kind)}
    assert set(LISTED) <= known


def _class_of(batch_kind, batch_index):
    """A class per batch: workers of a parallel run take classes as wholes."""

    class Batch:
        def test_passes_or_is_listed(self, tmp_path):
            chosen = batches(batch_kind)[batch_index]
            outcomes = run_cases([case(batch_kind, name) for name in chosen], tmp_path)
            failed = {name: each.problem for name, each in outcomes.items() if each.problem}
            new = {name: text for name, text in failed.items() if name not in LISTED}
            assert not new, "passed before:\n" + "\n".join(f"{n}: {t}" for n, t in new.items())
            fixed = [name for name in chosen if name in LISTED and name not in failed]
            assert not fixed, f"pass now, take them off failures.txt: {fixed}"

    return Batch


if not pytest.importorskip("onnx", minversion="1.23.2").__version__.startswith("1.23."):
    pytest.skip("the list is for the suite of onnx 1.23", allow_module_level=True)

for _kind in KINDS:
    for _index in range(len(batches(_kind))):
        _name = f"Test{_kind.title().replace('-', '')}{_index:02}"
        globals()[_name] = _class_of(_kind, _index)
