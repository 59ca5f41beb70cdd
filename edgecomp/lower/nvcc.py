"""CUDA C to the code of devices, by NVIDIA's compiler."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence

from edgecomp.cache import keep, kept
from edgecomp.errors import Code, EdgecompError
from edgecomp.held import scratch_folder

#: Sums and products stay apart unless a kernel asks for a fused one: integers that follow from
#: floats are the same on every device. Unused names are the writer's own.
_FLAGS = ("-std=c++17", "-fmad=false", "-w")
#: Where it installs itself.
_LAST_PLACE = "/usr/local/cuda/bin/nvcc"
_VERSION = re.compile(r"release (\d+)\.(\d+)")


@dataclasses.dataclass(frozen=True)
class Nvcc:
    """The compiler that was found.

    Attributes:
        path: of the program.
        identity: what it says about itself.
        version: 100 * major + 10 * minor.
        images: what it compiles to: ``sm_87``, ``compute_87``.
    """

    path: str
    identity: str
    version: int
    images: frozenset[str]


def compile_images(text: str, images: Sequence[str], cache: pathlib.Path) -> tuple[bytes, int]:
    """Compile kernels for devices.

    Args:
        text: CUDA C.
        images: ``sm_87`` for code, ``compute_87`` for PTX.
        cache: folder where it is kept.

    Returns:
        A fat binary with all images, and the compiler's version, 100 * major + 10 * minor.

    Raises:
        EdgecompError: TOOLCHAIN_MISSING without nvcc or with one that does not know an image,
            TOOLCHAIN_FAILED with what it says.
    """
    nvcc = find_nvcc()
    unknown = sorted(set(images) - nvcc.images)
    if unknown:
        raise EdgecompError(
            Code.TOOLCHAIN_MISSING,
            f"nvcc {_shown(nvcc.version)} does not compile for {', '.join(unknown)}, it knows "
            f"{', '.join(sorted(i for i in nvcc.images if i.startswith('sm_')))}",
            path=nvcc.path,
            hint="set CUDA_HOME to a CUDA toolkit that does: sm_72 needs 12.9 or older",
        )
    facts = json.dumps([text, list(images), nvcc.identity, _FLAGS])
    place = cache / "cuda" / f"{hashlib.sha256(facts.encode()).hexdigest()[:32]}.fatbin"
    found = kept(place)
    if found is None:
        found = _run(nvcc, text, images)
        keep(place, found)
    return found, nvcc.version


def _run(nvcc: Nvcc, text: str, images: Sequence[str]) -> bytes:
    codes = [f"-gencode=arch=compute_{i.rpartition('_')[2]},code={i}" for i in images]
    with scratch_folder() as folder:
        source, out = folder / "kernels.cu", folder / "kernels.fatbin"
        source.write_text(text, encoding="utf-8")
        command = [nvcc.path, "-fatbin", "--threads", "0", *_FLAGS, *codes]
        command += [str(source), "-o", str(out)]
        # The names of temporary files are in what it writes unless they are its own folder's.
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 or not out.is_file():
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise EdgecompError(
                Code.TOOLCHAIN_FAILED,
                "\n  ".join(["nvcc does not compile the kernels", *lines[:20]]),
                path=nvcc.path,
                hint="nvcc needs a C++ compiler that its release supports: "
                "NVCC_PREPEND_FLAGS='-ccbin g++-11' names one",
            )
        return out.read_bytes()


def nvcc_identity() -> str:
    """What the compiler says about itself, "" where there is none."""
    path = next(_paths(), "")
    return _identity(path) if path else ""


def find_nvcc() -> Nvcc:
    """The compiler below ``CUDA_HOME`` or ``CUDA_PATH``, on the path, or where it installs itself.

    Raises:
        EdgecompError: TOOLCHAIN_MISSING where there is none.
    """
    for path in _paths():
        return _described(path)
    raise EdgecompError(
        Code.TOOLCHAIN_MISSING,
        "kernels for CUDA need nvcc, which is not installed",
        hint="install the CUDA toolkit, of a release that the device's driver knows, and set "
        "CUDA_HOME to its folder",
    )


def _paths() -> Iterator[str]:
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
    for place in (*(f"{home}/bin/nvcc" for home in homes), "nvcc", _LAST_PLACE):
        path = shutil.which(place)
        if path:
            yield path


@functools.cache
def _identity(path: str) -> str:
    return _said(path, "--version")


@functools.cache
def _described(path: str) -> Nvcc:
    identity = _identity(path)
    found = _VERSION.search(identity)
    if found is None:
        raise EdgecompError(Code.TOOLCHAIN_FAILED, "nvcc does not say its version", path=path)
    images = [*_said(path, "--list-gpu-code").split(), *_said(path, "--list-gpu-arch").split()]
    version = 100 * int(found[1]) + 10 * int(found[2])
    return Nvcc(path, identity, version, frozenset(images))


def _said(path: str, question: str) -> str:
    done = subprocess.run([path, question], capture_output=True, text=True, check=False)
    return done.stdout


def _shown(version: int) -> str:
    return f"{version // 100}.{version // 10 % 10}"
