"""What the compiler makes of the kernels in the golden text, one file per target.

    python tests/benchmarks/fingerprint.py
    git diff --word-diff tests/benchmarks/fingerprint

To each kernel of ``tests/schedules/test_fingerprint.py`` this adds the bytes of its object's code
and the instructions of its main loop by class, so that a difference shows what a change of a
schedule, of TVM or of its LLVM did to the machine code. Kernels are compiled, none is run: any
machine gives the same text. Without llvm-objdump the loops are left out.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import tvm  # noqa: E402
from benchmarks import code_shape  # noqa: E402
from benchmarks.flags import add_list, new_parser  # noqa: E402
from helpers.fingerprint import TARGETS, lines_of, text_of  # noqa: E402

from edgecomp.lower.compile import compile_kernels  # noqa: E402

FOLDER = pathlib.Path(__file__).with_name("fingerprint")


def target_text(name, objdump, workers):
    """The file of one target."""
    target = TARGETS[name]()
    lines = lines_of(target)
    objects = compile_kernels([line.call.kernel for line in lines], target, workers=workers)
    shapes = {
        symbol: shape_of(symbol, content, objdump) for symbol, content in objects.items()
    }

    def describe(line):
        return f"{line} | {shapes[line.call.kernel.symbol]}"

    head = f"TVM {tvm.__version__}, {objdump_version(objdump)}"
    return f"{head}\n\n{text_of(lines, describe)}"


def shape_of(symbol, content, objdump):
    """Bytes of code, and the main loop's instructions."""
    with tempfile.TemporaryDirectory() as folder:
        if objdump is None:
            return f"object {len(content)}"
        path = pathlib.Path(folder) / "kernel.o"
        path.write_bytes(content)
        code = code_shape.disassemble(path, symbol, objdump)
    body = code_shape.main_loop(code)
    counts = code_shape.classes(body)
    parts = [f"object {len(content)}", f"code {len(code)} instructions"]
    parts += [f"loop {len(body)}"] if body else []
    return ", ".join(parts + [f"{key} {count}" for key, count in counts.items()])


def objdump_version(objdump):
    """One line."""
    if objdump is None:
        return "no llvm-objdump"
    command = [objdump, "--version"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return next(line.strip() for line in text.splitlines() if "version" in line)


def main():
    """Write the files that the flags ask for."""
    parser = new_parser(__doc__)
    add_list(parser, "--targets", TARGETS)
    parser.add_argument("--output", type=pathlib.Path, default=FOLDER, help="folder")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    flags = parser.parse_args()
    objdump = code_shape.find_objdump()
    flags.output.mkdir(parents=True, exist_ok=True)
    for name in flags.targets:
        path = flags.output / f"{name}.txt"
        path.write_text(target_text(name, objdump, flags.workers))
        print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
