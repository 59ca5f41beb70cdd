"""CUDA C through the compiler of CUDA 12.9, of pip: nvcc of CUDA 13 has dropped compute capability 7.2.

It is a library, and what it makes is one device's code, so that builds use nvcc alone.
"""

import ctypes
import importlib.util
import json
import pathlib
import re
import subprocess
import sys

import pytest

_PACKAGES = "nvidia-cuda-nvrtc-cu12 and nvidia-cuda-runtime-cu12"
_SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")
#: CUDA's number for machines, and where an ELF header has that and its flags.
_MACHINE, _MACHINE_AT, _FLAGS_AT = 190, 18, 48


def _folder(module):
    try:
        found = importlib.util.find_spec(f"nvidia.{module}")
    except ModuleNotFoundError:
        found = None
    if found is None:
        pytest.skip(f"{_PACKAGES} are not installed, which compile for compute capability 7.2")
    return pathlib.Path(next(iter(found.submodule_search_locations)))


def compile_for(text, image):
    """Compile kernels, in a process of its own: the library brings an LLVM beside TVM's.

    Args:
        text: CUDA C.
        image: ``sm_72``.

    Returns:
        The compute capability of the code (72), and for each kernel its registers and the bytes
        of them that are spilled.
    """
    library = _folder("cuda_nvrtc") / "lib" / "libnvrtc.so.12"
    headers = _folder("cuda_runtime") / "include"
    command = [sys.executable, __file__, str(library), str(headers), image]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr[-4000:]
    capability, kernels = json.loads(done.stdout)
    return capability, [tuple(kernel) for kernel in kernels]


def _compile(library, headers, image, text):
    """What ``compile_for`` returns."""
    library = ctypes.CDLL(library)
    options = ["-std=c++17", "-fmad=false", "-w", f"-arch={image}", f"-I{headers}",
               "--ptxas-options=-v"]  # fmt: skip
    program = ctypes.c_void_p()
    encoded = text.encode()
    assert not library.nvrtcCreateProgram(
        ctypes.byref(program), encoded, b"kernels.cu", 0, None, None
    )
    given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    failed = library.nvrtcCompileProgram(program, len(options), given)
    said = _read(library, program, "ProgramLog").decode()
    assert not failed, said[:4000]
    code = _read(library, program, "CUBIN")
    library.nvrtcDestroyProgram(ctypes.byref(program))
    assert int.from_bytes(code[_MACHINE_AT : _MACHINE_AT + 2], "little") == _MACHINE
    registers = [int(number) for number in _REGISTERS.findall(said)]
    spills = [int(a) + int(b) for a, b in _SPILLS.findall(said)]
    return code[_FLAGS_AT], list(zip(registers, spills, strict=True))


def _read(library, program, what):
    count = ctypes.c_size_t()
    assert not getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(count))
    held = ctypes.create_string_buffer(count.value)
    assert not getattr(library, f"nvrtcGet{what}")(program, held)
    return held.raw


if __name__ == "__main__":
    print(json.dumps(_compile(*sys.argv[1:], sys.stdin.read())))
