"""Run the conformance suite: ``python tests/conformance/run.py [part of a name ...]``.

Prints the passes by kind beside onnxruntime's, and every failure. ``--update`` writes the list of
failures from a whole run; new lines in it are for a person to justify.
"""

import argparse
import collections
import pathlib
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).parents[level]) for level in (1, 2)]

from conformance.compiled import Outcome, run_cases  # noqa: E402
from conformance.reasons import propose, read_list, write_list  # noqa: E402
from conformance.suite import BATCH, KINDS, case, names  # noqa: E402

#: Passed by onnxruntime 1.31.1 on the whole suite, which has 2,033 CPU tests.
ONNXRUNTIME = 1506


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="only tests whose name has one of these")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--update", action="store_true", help="write failures.txt")
    options = parser.parse_args()
    if options.update and (options.parts or set(options.kinds) != set(KINDS)):
        parser.error("--update needs the whole suite")
    began = time.monotonic()
    outcomes: dict[str, Outcome] = {}
    table = collections.Counter()
    for kind in options.kinds:
        parts = options.parts or [""]
        chosen = [name for name in names(kind) if any(part in name for part in parts)]
        for start in range(0, len(chosen), BATCH):
            with tempfile.TemporaryDirectory() as folder:
                cases = [case(kind, name) for name in chosen[start : start + BATCH]]
                found = run_cases(cases, pathlib.Path(folder))
            outcomes.update(found)
            table[kind, "all"] += len(found)
            table[kind, "passed"] += sum(not each.problem for each in found.values())
            print(f"{kind} {start + len(found)}/{len(chosen)}", file=sys.stderr, flush=True)
    _print(outcomes, table, options.kinds)
    print(f"{time.monotonic() - began:.0f} s")
    if options.update:
        update(outcomes)


def update(outcomes: dict[str, Outcome]) -> None:
    """Write the list; a test keeps the reason it had."""
    known = read_list()
    write_list(
        {
            name: known.get(name) or propose(name, each.stage, each.problem)
            for name, each in outcomes.items()
            if each.problem
        }
    )


def _print(outcomes: dict[str, Outcome], table: collections.Counter, kinds: list[str]) -> None:
    for name, outcome in outcomes.items():
        if outcome.problem:
            print(f"{name}\t{outcome.stage}\t{outcome.problem[:300]!r}")
    for kind in kinds:
        print(f"{kind:20} {table[kind, 'passed']:5} of {table[kind, 'all']}")
    passed = sum(table[kind, "passed"] for kind in kinds)
    print(f"{'in all':20} {passed:5} of {len(outcomes)}; onnxruntime {ONNXRUNTIME} of 2033")


if __name__ == "__main__":
    main()
