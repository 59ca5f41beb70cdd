"""The operators that cost most over bundles, and which of them are on fallback kernels.

    python tests/benchmarks/real_models.py --folder DIR      # makes the bundles
    python tests/benchmarks/operator_costs.py DIR [--precision fp32] [--runs 20] [--top 20]

Every bundle counts the same: shares of its run time are averaged over the bundles, so that a large
network does not hide a small one. The least time of each call is taken.
"""

import collections
import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.flags import new_parser  # noqa: E402

from edgecomp import api  # noqa: E402
from edgecomp.bench.local import local_device  # noqa: E402
from edgecomp.bench.runner import MeasureOptions  # noqa: E402


def profile(bundle, runs):
    """The times of a bundle's calls."""
    options = MeasureOptions(num_runs=runs, profile=True)
    return local_device().measure(api.open(bundle), options).calls


def shares(calls):
    """(operator, schedule) -> share of the time of one bundle."""
    total = sum(call.minimum_ns for call in calls) or 1
    found = collections.Counter()
    for call in calls:
        found[call.operator, call.schedule] += call.minimum_ns / total
    return found


def table(bundles, runs, top):
    """Markdown lines."""
    total, calls, where = collections.Counter(), collections.Counter(), {}
    for bundle in bundles:
        profiled = profile(bundle, runs)
        calls.update((call.operator, call.schedule) for call in profiled)
        for key, share in shares(profiled).items():
            total[key] += share / len(bundles)
            if share > where.get(key, (0.0, ""))[0]:
                where[key] = (share, bundle.name)
    yield "| operator | schedule | calls | mean share | most in |"
    yield "| --- | --- | ---: | ---: | --- |"
    for key, share in total.most_common(top):
        most, name = where[key]
        yield (
            f"| {key[0]} | {key[1]} | {calls[key]} | {100 * share:.1f} % "
            f"| {name} ({100 * most:.1f} %) |"
        )
    slow = [(key, share) for key, share in total.items() if key[1] == "fallback"]
    names = ", ".join(f"{key[0]} {100 * share:.2f} %" for key, share in slow) or "none"
    yield f"\nOn fallback kernels: {names}."


def main():
    """Profile and print."""
    parser = new_parser(__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--top", type=int, default=20)
    arguments = parser.parse_args()
    found = sorted(arguments.folder.glob(f"**/*_{arguments.precision}/manifest.json"))
    bundles = [path.parent for path in found]
    if not bundles:
        raise SystemExit(
            f"no bundles of precision {arguments.precision} in {arguments.folder}"
        )
    print("\n".join(table(bundles, arguments.runs, arguments.top)))


if __name__ == "__main__":
    main()
