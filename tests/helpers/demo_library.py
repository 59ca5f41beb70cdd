"""The hand-written demo model of tests/runtime, compiled the way a bundle is."""

import functools
import pathlib
import shutil
import subprocess

import pytest

from helpers.folders import folder_of_the_process

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUNTIME = ROOT / "runtime"
DEMO = ROOT / "tests" / "runtime" / "demo_model.c"


def listed(name):
    """Paths of a source list in runtime/."""
    return [str(RUNTIME / line) for line in (RUNTIME / name).read_text().split()]


@functools.cache
def compiler():
    """A C compiler of this machine; the test is skipped without one."""
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return name
    pytest.skip("no C compiler is installed")


def compile_plain(output, sources, *flags, cc=None):
    """One plain call of the compiler, with what any build of the runtime needs."""
    command = [
        cc or compiler(), "-std=c11", "-O2", "-fvisibility=hidden", "-ffp-contract=off",
        f"-I{RUNTIME}/include", f"-I{RUNTIME}/src", *flags, *map(str, sources),
        "-o", str(output), "-lm", "-pthread",
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return pathlib.Path(output)


@functools.cache
def runtime_objects(cc=None):
    """Objects of the runtime, and those of the runner, compiled once per compiler.

    Returns:
        Two dicts, path of the source -> path of the object.
    """
    folder = folder_of_the_process("edgecomp-demo-")
    parts = []
    for name in ("sources.txt", "runner_sources.txt"):
        parts.append({p: folder / f"{pathlib.Path(p).stem}.o" for p in listed(name)})
        for source, output in parts[-1].items():
            compile_plain(output, [source], "-c", "-fPIC", cc=cc)
    return tuple(parts)


@functools.cache
def demo_library(*defines):
    """Shared library of the demo model and the runtime, built once per set of defines."""
    folder = folder_of_the_process("edgecomp-demo-")
    runtime, _ = runtime_objects()
    flags = ["-shared", "-fPIC", *(f"-D{define}" for define in defines)]
    return compile_plain(folder / "libdemo.so", [*runtime.values(), DEMO], *flags)


@functools.cache
def demo_runner(*defines, cc=None, static=False):
    """Program of the runner and the demo model."""
    folder = folder_of_the_process("edgecomp-demo-")
    runtime, runner = runtime_objects(cc)
    flags = [f"-D{define}" for define in defines] + (["-static"] if static else [])
    return compile_plain(
        folder / "demo", [*runtime.values(), *runner.values(), DEMO], *flags, cc=cc
    )


def demo_weights():
    """Contents of the demo's weights."""
    import numpy as np

    weights = np.zeros(64, np.float32)
    weights[:16] = np.arange(1, 17) / 8
    weights[32:48] = np.arange(16) - 8
    return weights.tobytes()


def demo_outputs(x, gain):
    """What the demo model computes, in numpy."""
    import numpy as np

    scale = np.arange(1, 17, dtype=np.float32) / 8
    bias = np.arange(16, dtype=np.float32) - 8
    affine = x * gain * scale + bias
    row_sum = np.zeros(37, np.float32)
    for column in range(16):  # in the order of the kernel
        row_sum += affine[:, column]
    total = np.float32(0)
    for value in row_sum:
        total += value
    return {
        "y": np.clip(np.rint(affine), -128, 127).astype(np.int8),
        "row/sum:0": row_sum,
        "total": np.asarray(total),
        "bias": bias,
    }
