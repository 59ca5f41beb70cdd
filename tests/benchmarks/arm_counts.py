"""Instructions of one inference of MobileNetV2 for ARM, and modelled cycles of its inner loops.

    python tests/benchmarks/arm_counts.py --targets raspberry-pi-5,raspberry-pi-3 \\
        --precision fp32,w8a8 --json result.json

Counts are exact and come from qemu's user mode. Cycles come from llvm-mca's models of cores,
which take every load for a hit in the level-1 cache. Neither is a time.

The share of a loop is the modelled cycles that its multiplies alone would take, on independent
registers, divided by the modelled cycles of the whole loop. Loops over K are told apart from
loops over tiles, in which K is unrolled and whose body also requantizes and stores. Two more shares
stand beside: "all arithmetic" takes whatever the operator demands for the multiplies, with the
shortest instructions known for it rather than the kernel's; "bound" takes all instructions of
the loop, which then wait for issue and units alone: what its order loses.
"""

import collections
import datetime as dt
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import tvm  # noqa: E402
from benchmarks import guest_program, loops  # noqa: E402
from benchmarks.flags import add_list, new_parser  # noqa: E402
from helpers.classifiers import classifier, synthetic_inputs  # noqa: E402

import edgecomp  # noqa: E402
from edgecomp import api  # noqa: E402
from edgecomp.device.load import list_targets, load_target  # noqa: E402

_MODEL = "mobilenet_v2"
_CALIBRATION_SAMPLES = 8
_TARGETS = ("raspberry-pi-5", "raspberry-pi-3", "rk3568")
_CORES = ("neoverse-n1", "cortex-a55")
#: Families below this part of the count are one line together.
_LEAST_SHARE = 0.002


def build(target, precision, folder):
    """The bundle of one target."""
    model = classifier(_MODEL).clone()
    if precision != "fp32":
        port = model.graph.inputs[0].name
        samples = synthetic_inputs(_MODEL, _CALIBRATION_SAMPLES, seed=2)
        model = api.quantize(model, [{port: array} for array in samples])
    output = folder / f"{target}_{precision}"
    return api.compile(model, target, output=output, name=_MODEL, force=True)


def family_of(symbol):
    """What a function's name says of its kernel: tile and contents left out."""
    kernel = re.sub(r"_[0-9a-f]{16}$", "", symbol.removeprefix("ec_"))
    kernel = re.sub(r"_\d+x\d+(__|$)", r"\1", kernel)
    return kernel if symbol.startswith("ec_") else "runtime and C library"


def measure(bundle, flags, folder):
    """Lines of one bundle."""
    target = load_target(bundle.manifest.target.name)
    plugin = flags.plugin or guest_program.build_plugin(folder, flags.plugin_api)
    runner = guest_program.link_runner(bundle, target, folder)
    counts = guest_program.count_inference(runner, bundle, target, plugin, folder)
    functions = guest_program.disassemble(runner, counts, flags.llvm_objdump)
    families = collections.defaultdict(dict)
    for symbol, instructions in functions.items():
        families[family_of(symbol)][symbol] = instructions
    total = sum(counts.values())
    lines = [measure_family(*item, flags.llvm_mca) for item in families.items()]
    return {
        "target": target.name,
        "emulated": " ".join(target.emulator.arguments),
        "instructions": total,
        "multiply_adds": bundle.report["coverage"]["multiply_adds"],
        "families": sorted(lines, key=lambda line: -line["instructions"]),
    }


def measure_family(name, functions, llvm_mca):
    """Counts of the functions of one kind of kernel, and its loops under the models."""
    every = [i for instructions in functions.values() for i in instructions]
    hot = [
        loop
        for symbol, instructions in functions.items()
        for loop in loops.innermost_loops(symbol, instructions)
        if loop.multiplies and loop.iterations
    ]
    mnemonics = collections.Counter()
    for instruction in every:
        mnemonics[instruction.mnemonic] += instruction.count
    return {
        "family": name,
        "kernels": len(functions),
        "code_instructions": len(every),
        "instructions": sum(i.count for i in every),
        "multiplies": sum(
            i.count
            for instructions in functions.values()
            for i in loops.multiplies_of(instructions)
        ),
        "mnemonics": dict(mnemonics.most_common(16)),
        "parts": {
            part: {
                "instructions": sum(i.count for loop in found for i in loop.body),
                "models": {core: model_loops(found, core, llvm_mca) for core in _CORES},
            }
            for part, found in (
                ("K", [loop for loop in hot if not loop.finishes]),
                ("whole tiles", [loop for loop in hot if loop.finishes]),
            )
            if found
        },
    }


def model_loops(hot, core, llvm_mca):
    """Shares of a core's peak, of all loops by their iterations and of each.

    A loop whose code the compiler split into blocks is taken as if all of them ran.
    """
    peaks = loops.cycles_alone([loop.multiplies for loop in hot], core, llvm_mca)
    orders = zip(*(loop.arithmetic for loop in hot), strict=True)
    demanded = map(min, *(loops.cycles_alone(order, core, llvm_mca) for order in orders))
    found = loops.modelled_cycles([loops.assembly_of(loop) for loop in hot], core, llvm_mca)
    rows = []
    for loop, (cycles, bound), peak, arithmetic in zip(
        hot, found, peaks, demanded, strict=True
    ):
        rows.append(
            {
                "symbol": loop.symbol,
                "iterations": loop.iterations,
                "instructions": len(loop.body),
                "multiplies": len(loop.multiplies),
                "cycles": cycles,
                "bound_cycles": bound,
                "peak_cycles": peak,
                "arithmetic_cycles": arithmetic,
            }
        )
    weighted = {
        key: sum(row["iterations"] * row[key] for row in rows)
        for key in ("cycles", "bound_cycles", "peak_cycles", "arithmetic_cycles")
    }
    return {
        "peak_share": weighted["peak_cycles"] / weighted["cycles"],
        "arithmetic_share": weighted["arithmetic_cycles"] / weighted["cycles"],
        "bound_share": weighted["bound_cycles"] / weighted["cycles"],
        "loops": rows,
    }


def markdown(result):
    """Both tables, labelled with what they are."""
    out = ["Counted, one inference (qemu user mode), million instructions:", ""]
    out += [
        "| target | precision | total | multiplies | the rest |",
        "|---|---|---:|---:|---:|",
    ]
    for row in result["rows"]:
        multiplies = sum(line["multiplies"] for line in row["families"])
        cells = (row["instructions"], multiplies, row["instructions"] - multiplies)
        millions = " | ".join(f"{cell / 1e6:.1f}" for cell in cells)
        out.append(f"| {row['target']} | {row['precision']} | {millions} |")
    out += [
        "",
        "Per kind of kernel; the last columns are llvm-mca's models, no measurement:",
        "",
    ]
    header = ["target", "precision", "kernel", "M instructions", "M multiplies", "loops over"]
    header += ["M in them"]
    shares = ("multiply peak", "all arithmetic", "bound")
    header += [f"{what}, {core}" for core in _CORES for what in shares]
    columns = 1 + len(shares) * len(_CORES)
    out += [f"| {' | '.join(header)} |", "|---|---|---|---:|---:|---|" + "---:|" * columns]
    for row in result["rows"]:
        for line in row["families"]:
            if line["instructions"] < _LEAST_SHARE * row["instructions"]:
                continue
            counts = [f"{line[key] / 1e6:.2f}" for key in ("instructions", "multiplies")]
            cells = [row["target"], row["precision"], line["family"], *counts]
            for part, found in line["parts"].items() or [("", None)]:
                shares = part_cells(found) if found else [""] * columns
                out.append(f"| {' | '.join([*cells, part, *shares])} |")
    return "\n".join(out)


def part_cells(part):
    """Instructions in the loops of one part, and the shares of each model."""
    shares = [
        f"{part['models'][core][key]:.0%}"
        for core in _CORES
        for key in ("peak_share", "arithmetic_share", "bound_share")
    ]
    return [f"{part['instructions'] / 1e6:.2f}", *shares]


def versions(llvm_mca, targets):
    """What counted and modelled what."""

    def first_line(*command):
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return next(line.strip() for line in text.splitlines() if "ersion" in line)

    emulators = {load_target(name).emulator.command for name in targets}
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "edgecomp": edgecomp.__version__,
        "tvm": tvm.__version__,
        "llvm-mca": first_line(llvm_mca, "--version"),
        **{command: first_line(command, "--version") for command in sorted(emulators)},
    }


def main():
    """Count what the flags ask for."""
    parser = new_parser(__doc__)
    known = [target.name for target in list_targets() if target.emulator]
    add_list(parser, "--targets", known, default=_TARGETS)
    add_list(parser, "--precision", ["fp32", "w8a8"])
    parser.add_argument("--json", type=pathlib.Path, help="write everything found")
    parser.add_argument("--keep", type=pathlib.Path, help="folder that keeps the bundles")
    parser.add_argument("--plugin", type=pathlib.Path, help="qemu_blocks.so, built already")
    parser.add_argument("--plugin-api", type=int, default=1, help="2 for qemu from 9.0 on")
    parser.add_argument("--llvm-objdump", default="llvm-objdump-19")
    parser.add_argument("--llvm-mca", default="llvm-mca-19")
    flags = parser.parse_args()
    result = {"versions": versions(flags.llvm_mca, flags.targets), "rows": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = flags.keep or pathlib.Path(scratch)
        for target in flags.targets:
            for precision in flags.precision:
                bundle = build(target, precision, folder)
                with tempfile.TemporaryDirectory() as work:
                    row = measure(bundle, flags, pathlib.Path(work))
                result["rows"].append({"precision": precision, **row})
    if flags.json:
        flags.json.write_text(json.dumps(result, indent=2) + "\n")
    for key, value in result["versions"].items():
        print(f"{key}: {value}")
    print(f"\n{markdown(result)}")


if __name__ == "__main__":
    main()
