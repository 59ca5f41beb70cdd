"""Run the conformance suite: ``python tests/conformance/run.py [part of a name ...]``."""

import argparse
import collections
import pathlib
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).parents[1]), str(pathlib.Path(__file__).parents[2])]

from conformance.compiled import run_cases  # noqa: E402
from conformance.suite import KINDS, case, names  # noqa: E402

BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", help="only tests whose name has one of these")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--output", type=pathlib.Path)
    options = parser.parse_args()
    began = time.monotonic()
    outcomes, passed = {}, collections.Counter()
    for kind in options.kinds:
        chosen = [
            name
            for name in names(kind)
            if not options.parts or any(part in name for part in options.parts)
        ]
        for start in range(0, len(chosen), BATCH):
            with tempfile.TemporaryDirectory() as folder:
                cases = [case(kind, name) for name in chosen[start : start + BATCH]]
                found = run_cases(cases, pathlib.Path(folder))
            outcomes.update(found)
            passed[kind] += sum(not each.problem for each in found.values())
            print(f"{kind} {start} {sum(passed.values())}/{len(outcomes)} {time.monotonic()-began:.0f} s", file=sys.stderr, flush=True)
    lines = [f"{n}\t{o.stage}\t{o.problem[:300]!r}\t{','.join(o.fallbacks)}" for n, o in outcomes.items()]
    if options.output:
        options.output.write_text("\n".join(lines))
    else:
        print("\n".join(line for line in lines))
    print(passed, len(outcomes), f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
