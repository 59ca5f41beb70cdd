"""What sizes that are known only when a model runs cost: one bundle for all, and one for each.

    python tests/benchmarks/dynamic_sizes.py minilm.onnx --input 'ids:1x[1..512]' \\
        --at ids:1x16,mask:1x16 --at ids:1x128,mask:1x128 [--threads 1,2]

Builds a bundle with the bounds of --input and, for each --at, one for these shapes alone; the two
run in turns on the same inputs, which are their golden ones cut to the size. A ratio above 1 says
how much longer the bundle of all sizes takes: the median over rounds, 95 % by bootstrap. Both give
the same numbers, which is checked first.
"""

import contextlib
import pathlib
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.flags import add_list, new_parser  # noqa: E402

from edgecomp import api  # noqa: E402
from edgecomp.bench.compare import take_turns  # noqa: E402
from edgecomp.bench.engines import BundleEngine, timed_inputs  # noqa: E402
from edgecomp.bench.statistics import paired_ratio  # noqa: E402
from edgecomp.frontend.input_spec import parse_input_specs  # noqa: E402
from edgecomp.options import BuildOptions  # noqa: E402

#: Largest difference of the two bundles' outputs, over the largest number in them.
LIMIT = 1e-4


def build(model, specs, folder):
    """A float bundle for this machine."""
    return api.build(model, BuildOptions(input=tuple(specs), output=folder))


def compare(dynamic, fixed, threads, seconds, rounds):
    """Ratio of the dynamic bundle's times to the fixed one's, and the fixed one's in ms."""
    inputs = timed_inputs(fixed)
    with contextlib.ExitStack() as stack:
        engines = [
            stack.enter_context(contextlib.closing(BundleEngine(bundle, threads, inputs)))
            for bundle in (fixed, dynamic)
        ]
        for ours, theirs in zip(engines[1].outputs, engines[0].outputs, strict=True):
            most = LIMIT * max(np.abs(theirs).max(), 1e-30)
            if ours.shape != theirs.shape or np.abs(ours - theirs).max() > most:
                raise SystemExit(f"the bundles differ: {ours.shape} and {theirs.shape}")
        turns = take_turns(engines, seconds / (2 * (rounds + 1)), rounds=rounds)
    times = [[turn.wall_ns for turn in own] for own in turns]
    return paired_ratio(*times), np.median([np.median(each) for each in times[0]]) / 1e6


def main():
    """Print a table."""
    parser = new_parser(__doc__)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--input", action="append", required=True, metavar="SPEC")
    parser.add_argument("--at", action="append", required=True, metavar="SPEC,SPEC")
    add_list(parser, "--threads", ("1", "2", "4"), default=("1",))
    parser.add_argument("--seconds", type=float, default=6, help="of turns, for each line")
    parser.add_argument("--rounds", type=int, default=12)
    flags = parser.parse_args()
    print("| shapes | threads | for these alone, ms | ratio | 95 % |")
    print("| --- | ---: | ---: | ---: | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        dynamic = build(flags.model, flags.input, folder / "dynamic")
        for number, shapes in enumerate(flags.at):
            specs = parse_input_specs(shapes.split(","), "--at")
            fixed = build(flags.model, [s.text for s in specs.values()], folder / f"{number}")
            for threads in map(int, flags.threads):
                ratio, ms = compare(dynamic, fixed, threads, flags.seconds, flags.rounds)
                interval = f"{ratio.low:.2f} to {ratio.high:.2f}"
                print(
                    f"| {shapes} | {threads} | {ms:.3f} | {ratio.value:.2f} | {interval} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
