"""A bundle's runner for aarch64, unstripped, and how often each of its instructions ran.

The counts are exact and come from qemu's user mode; they say nothing about time.
"""

import collections
import dataclasses
import functools
import pathlib
import re
import shutil
import subprocess

PLUGIN_SOURCE = pathlib.Path(__file__).with_name("qemu_blocks.c")
_INSTRUCTION_BYTES = 4
_SYMBOL = re.compile(r"^([0-9a-f]+) <(.+)>:$")
_INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction of the program.

    Attributes:
        address: where it lies.
        mnemonic: and operands, as the disassembler writes them.
        count: how often it ran in one inference.
    """

    address: int
    mnemonic: str
    operands: str
    count: float

    @property
    def target(self):
        """Where a branch goes; None for what is no direct branch."""
        found = re.search(r"0x([0-9a-f]+)(?: <|$)", self.operands)
        is_branch = re.match(r"(b|bl|b\..*|cbn?z|tbn?z)$", self.mnemonic)
        return int(found.group(1), 16) if found and is_branch else None


def build_plugin(folder, plugin_api, compiler="cc"):
    """Compile the counting plugin for a version of qemu's interface; return its path."""
    path = folder / "qemu_blocks.so"
    flags = ["-O2", "-shared", "-fPIC", f"-DPLUGIN_API={plugin_api}"]
    subprocess.run([compiler, *flags, str(PLUGIN_SOURCE), "-o", str(path)], check=True)
    return path


def link_runner(bundle, target, folder):
    """Link the bundle's runner at fixed addresses, with symbols; return its path."""
    compiler = next(c for c in target.toolchain.compilers if shutil.which(c))
    sources = bundle.directory / "src" / "runtime"
    names = (sources / "runner_sources.txt").read_text().splitlines()
    runner = [str(sources / n) for n in names if n and not n.startswith("#")]
    path = folder / "runner"
    includes = [f"-I{bundle.directory / 'include'}", f"-I{sources / 'src'}"]
    archive = bundle.directory / "lib" / f"lib{bundle.name}.a"
    command = [compiler, *target.toolchain.flags, "-O2", "-std=c11", "-static", "-no-pie"]
    command += [*includes, *runner, str(archive), "-pthread", "-lm", "-o", str(path)]
    subprocess.run(command, check=True)
    return path


def count_blocks(runner, bundle, target, plugin, inferences, folder):
    """(first address, instructions) -> executions in a process of so many inferences."""
    out = folder / f"blocks_{inferences}.txt"
    emulator = target.emulator
    command = [emulator.command, *emulator.arguments, "-plugin", f"{plugin},out={out}"]
    command += [str(runner), "--weights", str(bundle.weights_path), "--random-inputs"]
    command += ["--skip-hash", "--warmup-runs", str(inferences - 1)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    executions = collections.Counter()
    for line in out.read_text().splitlines():
        count, address, instructions = line.split()
        executions[int(address, 16), int(instructions)] += int(count)
    return executions


def count_inference(runner, bundle, target, plugin, folder):
    """Address -> executions in one inference: two inferences less one."""
    count = functools.partial(count_blocks, runner, bundle, target, plugin)
    one, two = (count(inferences, folder) for inferences in (2, 3))
    counts = collections.Counter()
    for block in one.keys() | two.keys():
        executions = two[block] - one[block]
        if executions:
            address, instructions = block
            for i in range(instructions):
                counts[address + i * _INSTRUCTION_BYTES] += executions
    return counts


def disassemble(runner, counts, llvm_objdump):
    """Symbol -> its instructions, for the functions that an inference runs."""
    command = [llvm_objdump, "-d", "--no-show-raw-insn", str(runner)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    functions, current = {}, []
    for line in text.splitlines():
        if symbol := _SYMBOL.match(line):
            current = functions.setdefault(symbol.group(2), [])
        elif found := _INSTRUCTION.match(line):
            address = int(found.group(1), 16)
            operands = found.group(3).split("//")[0].strip()
            current.append(
                Instruction(address, found.group(2), operands, counts.get(address, 0))
            )
    return {
        name: instructions
        for name, instructions in functions.items()
        if any(instruction.count for instruction in instructions)
    }
