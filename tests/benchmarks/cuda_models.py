"""Models on this machine's CUDA device: built, compared, and timed beside torch and onnxruntime.

    python tests/benchmarks/cuda_models.py
    python tests/benchmarks/cuda_models.py --models mobilenetv2 --batches 1 --precisions fp32,w8a8
    python tests/benchmarks/cuda_models.py --profile
    python tests/benchmarks/cuda_models.py --sanitizer --batches 1

For each model, batch and precision: the bundle is built for the target, its outputs are compared
with onnxruntime's on the processor (and for w8a8 with the processor's own build, bit by bit), and
then all runtimes that are installed run in turns: torch eager and torch.compile (max-autotune,
with CUDA graphs) in float32 and float16, and onnxruntime's CUDA provider. A time is a whole
inference with inputs and outputs in the processor's memory; the median of all turns is printed.
With --profile each kernel's time, and its share of what the device reaches: products of large
float16 matrices for multiply-adds, copies for bytes. With --sanitizer each bundle's program runs once
under every tool of NVIDIA's compute-sanitizer, which has to be on the path.

Without a device it ends with status 8 and says so.
"""

import dataclasses
import json
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from benchmarks.flags import add_list, new_parser  # noqa: E402
from benchmarks.networks import MAIN  # noqa: E402
from benchmarks.peer_work import exported  # noqa: E402

from edgecomp import api  # noqa: E402
from edgecomp.errors import EdgecompError  # noqa: E402
from edgecomp.native import Session  # noqa: E402
from edgecomp.options import BuildOptions  # noqa: E402

MODELS = ("mobilenetv2", "resnet50", "minilm_l6_s128")
PRECISIONS = ("fp32", "fp16", "w8a8")
_CALIBRATION_SAMPLES = 32
_SEED = 7
_WARM_UP_RUNS = 10
_TURNS = 9
_TURN_SECONDS = 0.5
#: Largest difference to onnxruntime, of the largest output.
_TOLERANCES = {"fp32": 1e-4, "fp16": 2e-2, "w8a8": 0.3}
_NO_DEVICE = 8
#: Tools of compute-sanitizer: accesses, hazards in shared memory, meetings of threads.
_SANITIZERS = ("memcheck", "racecheck", "synccheck")
_FOUND_SOMETHING = 9


@dataclasses.dataclass
class Case:
    """One model at one batch.

    Attributes:
        module: torch's.
        path: of the ONNX file.
        x: the input.
        samples: for calibration.
        want: onnxruntime's outputs on the processor.
    """

    name: str
    batch: int
    module: torch.nn.Module
    path: pathlib.Path
    x: np.ndarray
    samples: list
    want: list


def make_case(name, batch, folder):
    """The model exported at a batch, with inputs and the outputs that are wanted."""
    network = MAIN[name]
    module = network.module()
    given = network.inputs(batch * (1 + _CALIBRATION_SAMPLES), _SEED)
    batches = [np.concatenate(given[i : i + batch]) for i in range(0, len(given), batch)]
    path = folder / f"{name}-{batch}.onnx"
    path.write_bytes(exported(module, torch.from_numpy(batches[0])))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    want = session.run(None, {"input": batches[0]})
    return Case(name, batch, module, path, batches[0], batches[1:], want)


def build(case, target, precision, folder):
    """The bundle of a case."""
    samples = [{"input": x} for x in case.samples] if precision != "fp32" else None
    options = BuildOptions(
        target=target,
        precision=precision,
        output=folder / f"{case.name}-{case.batch}-{precision}-{target}",
        name=case.name,
        force=True,
    )
    return api.build(str(case.path), options, calibration_dataset=samples)


def check(case, precision, bundle, folder):
    """Compare the device's outputs; what was found, as text."""
    with Session(bundle.library_path, weights=bundle.weights_path) as session:
        found = list(session.run({"input": case.x}).values())
        left = bundle.report["facts"]["on_the_processor"]
    worst = max(
        float(np.abs(one - other).max() / np.abs(other).max())
        for one, other in zip(found, case.want, strict=True)
    )
    said = [f"{worst:.1e} of the largest output from onnxruntime"]
    if worst > _TOLERANCES[precision]:
        said.append("TOO FAR")
    if precision == "w8a8":
        host = build(case, "host", precision, folder)
        with Session(host.library_path, weights=host.weights_path) as session:
            same = list(session.run({"input": case.x}).values())
        equal = all(map(np.array_equal, found, same))
        said.append("equal to the processor's" if equal else "OTHER BITS than the processor's")
    if left:
        said.append(f"{len(left)} operations on the processor")
    return "; ".join(said)


def sanitized(bundle):
    """What each tool of compute-sanitizer says of one run, by its name."""
    run = [bundle.runner_path, "--weights", bundle.weights_path, "--random-inputs",
           "--num-runs", "1"]  # fmt: skip
    found = {}
    for tool in _SANITIZERS:
        under = ["compute-sanitizer", "--tool", tool, "--error-exitcode", _FOUND_SOMETHING]
        done = subprocess.run(
            list(map(str, under + run)), capture_output=True, text=True, check=False
        )
        said = (done.stdout + done.stderr).strip().splitlines() or [""]
        found[tool] = "clean" if done.returncode == 0 else f"NOT CLEAN: {said[-1]}"
    return found


class Runner:
    """A bundle's program that runs when it is asked to."""

    def __init__(self, bundle):
        command = [bundle.runner_path, "--weights", bundle.weights_path, "--random-inputs",
                   "--serve"]  # fmt: skip
        self._process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._process.stdout.readline()  # its report
        self(_TURN_SECONDS)

    def __call__(self, seconds):
        """Nanoseconds of each run."""
        self._process.stdin.write(f"run {seconds} {_WARM_UP_RUNS}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())["run_ns"]

    def close(self):
        """End the program."""
        self._process.stdin.close()
        self._process.wait()


def timed(run):
    """A function that gives the nanoseconds of each run in some seconds."""

    def turn(seconds):
        spent, end = [], time.monotonic() + seconds
        while time.monotonic() < end or len(spent) < _WARM_UP_RUNS:
            begin = time.perf_counter_ns()
            run()
            spent.append(time.perf_counter_ns() - begin)
        return spent

    turn(_TURN_SECONDS)
    return turn


def torch_runs(case):
    """What torch does, by name."""
    runs = {}
    for dtype in (torch.float32, torch.float16):
        words = case.x.dtype.kind == "i"
        module = case.module.to("cuda", dtype).eval()
        host = torch.from_numpy(case.x)
        host = (host if words else host.to(dtype)).pin_memory()
        for name, made in (
            ("torch eager", module),
            ("torch.compile", torch.compile(module, mode="max-autotune")),
        ):

            @torch.inference_mode()
            def run(made=made, host=host):
                found = made(host.to("cuda", non_blocking=True))
                found = found if isinstance(found, tuple) else (found,)
                return [y.cpu() for y in found]  # waits

            short = "fp32" if dtype is torch.float32 else "fp16"
            runs[f"{name} {short}"] = timed(run)
        case.module.to("cpu", torch.float32)
    return runs


def onnxruntime_runs(case):
    """What onnxruntime does where it has a provider for CUDA."""
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return {}
    session = onnxruntime.InferenceSession(str(case.path), providers=["CUDAExecutionProvider"])
    return {"onnxruntime fp32": timed(lambda: session.run(None, {"input": case.x}))}


def take_turns(runs):
    """Median microseconds of each."""
    found = {name: [] for name in runs}
    for _ in range(_TURNS):
        for name, run in runs.items():
            found[name] += run(_TURN_SECONDS)
    return {name: statistics.median(spent) / 1e3 for name, spent in found.items()}


def ceilings():
    """Multiply-adds and bytes that the device makes in a second."""
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
    b = torch.empty_like(a)
    rates = []
    for work, run in ((8192**3, lambda: a @ a), (2 * a.nbytes, lambda: b.copy_(a))):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        for _ in range(_WARM_UP_RUNS):
            run()
        begin.record()
        for _ in range(_TURNS):
            run()
        end.record()
        torch.cuda.synchronize()
        rates.append(work * _TURNS / (begin.elapsed_time(end) / 1e3))
    return rates


def print_profile(case, bundle, rates):
    """Each kernel, the slowest first."""
    with Session(bundle.library_path, weights=bundle.weights_path) as session:
        _, profiles = session.run_profiled({"input": case.x}, runs=_WARM_UP_RUNS)
    products, moved = rates
    for profile in sorted(profiles, key=lambda p: -p.minimum_ns):
        seconds = max(profile.minimum_ns, 1) / 1e9
        call = profile.call
        share = call.multiply_adds / seconds / products
        nodes = call.nodes if isinstance(call.nodes, str) else ",".join(call.nodes)
        print(
            f"    {seconds * 1e6:8.2f} us  {share:6.1%} of products  {call.schedule:28} {nodes}"
        )
    weights = bundle.weights_path.stat().st_size
    spent = sum(p.minimum_ns for p in profiles) / 1e9
    print(
        f"    weights once in all: {weights / spent / moved:6.1%} of the bytes that copies move"
    )


def measure(case, flags, folder, rates):
    """All lines of one case."""
    runs, bundles, runners = {}, {}, []
    for precision in flags.precisions:
        try:
            bundle = build(case, flags.target, precision, folder)
            said = check(case, precision, bundle, folder)
        except EdgecompError as error:
            print(f"  edgecomp {precision}: {error.cause}")
            continue
        print(f"  edgecomp {precision}: {said}")
        if flags.sanitizer:
            print("".join(f"    {name}: {word}\n" for name, word in sanitized(bundle).items()))
        bundles[precision] = bundle
        runners.append(Runner(bundle))
        runs[f"edgecomp {precision}"] = runners[-1]
    runs |= torch_runs(case) | onnxruntime_runs(case)
    try:
        for name, microseconds in take_turns(runs).items():
            print(f"  {name:24} {microseconds:10.1f} us")
    finally:
        for runner in runners:
            runner.close()
    for precision, bundle in bundles.items():
        if flags.profile:
            print(f"  kernels of {precision}:")
            print_profile(case, bundle, rates)


def main():
    """The whole table."""
    parser = new_parser(__doc__)
    add_list(parser, "--models", MAIN, default=MODELS)
    add_list(parser, "--precisions", PRECISIONS)
    add_list(parser, "--batches", ("1", "8"))
    parser.add_argument("--target", default="cuda-sm90")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("cuda-benchmark"))
    parser.add_argument("--profile", action="store_true", help="also each kernel")
    parser.add_argument(
        "--sanitizer", action="store_true", help="also under compute-sanitizer"
    )
    flags = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device, or a torch that has no CUDA: nothing can be measured",
              file=sys.stderr)  # fmt: skip
        return _NO_DEVICE
    flags.folder.mkdir(parents=True, exist_ok=True)
    rates = ceilings()
    print(f"{torch.cuda.get_device_name()}: {rates[0] / 1e12:.0f} T multiply-adds, "
          f"{rates[1] / 1e9:.0f} GB each second")  # fmt: skip
    for name in flags.models:
        for batch in map(int, flags.batches):
            print(f"{name}, batch {batch}")
            measure(make_case(name, batch, flags.folder), flags, flags.folder, rates)
    return 0


if __name__ == "__main__":
    sys.exit(main())
