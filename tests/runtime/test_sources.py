"""Rules that hold for the runtime's sources: layers, lists, headers, formatting, lint."""

import importlib.util
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import xxhash
from helpers.demo_library import (
    DEMO,
    ROOT,
    RUNTIME,
    compile_plain,
    compiler,
    listed,
    runtime_objects,
)
from hypothesis import given
from hypothesis import strategies as st

LAYERS = ("platform", "core", "exec", "device", "host")
SOURCES = sorted((RUNTIME / "src").rglob("*.[ch]"))
BACK_ENDS = [
    p
    for p in SOURCES
    if p.parent.name in ("opencl", "cuda")
    and p.suffix == ".c"
    and not p.name.endswith("_absent.c")
]
ALL_C = [
    *SOURCES,
    *sorted((RUNTIME / "tools").glob("*.[ch]")),
    *sorted((RUNTIME / "include").rglob("*.h")),
    *sorted(DEMO.parent.glob("*.[ch]")),
]


def layer_of(path):
    return path.relative_to(RUNTIME / "src").parts[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(RUNTIME)))
def test_includes_go_down(path):
    """platform <- core <- exec <- device <- host."""
    for included in re.findall(r'#include "([^"]+)"', path.read_text()):
        layer = included.split("/")[0]
        if layer == "edgecomp":
            assert (RUNTIME / "include" / included).exists()
        else:
            assert LAYERS.index(layer) <= LAYERS.index(layer_of(path)), included


def test_tools_use_the_public_interface():
    for path in (RUNTIME / "tools").glob("*.[ch]"):
        for included in re.findall(r'#include "([^"]+)"', path.read_text()):
            here = (path.parent / included).exists()
            assert here or included.startswith("edgecomp/"), f"{path.name}: {included}"


def test_lists_name_every_source():
    # A back end's own sources take the place of what stands in for it.
    ours = [p for p in SOURCES if p.suffix == ".c" and p not in BACK_ENDS]
    assert listed("sources.txt") == [str(p) for p in ours]
    tools = sorted((RUNTIME / "tools").glob("*.c"))
    assert listed("runner_sources.txt") == [str(p) for p in tools]


def test_object_names_differ():
    """All sources may be compiled into one folder."""
    names = [p.name for p in SOURCES if p.suffix == ".c"]
    names += [p.name for p in (RUNTIME / "tools").glob("*.c")]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("standard", ["c99", "c11", "c17"])
def test_headers_alone(tmp_path, standard):
    for name in ("model.h", "edgecomp.h"):
        source = tmp_path / "header.c"
        source.write_text(f'#include "edgecomp/{name}"\nint main(void) {{ return 0; }}\n')
        command = [compiler(), f"-std={standard}", "-pedantic", "-Wall", "-Wextra", "-Werror",
                   f"-I{RUNTIME}/include", "-fsyntax-only", source]  # fmt: skip
        subprocess.run(command, check=True)


def test_headers_in_cpp(tmp_path):
    for cpp in ("c++", "g++", "clang++"):
        if shutil.which(cpp):
            break
    else:
        pytest.skip("no C++ compiler is installed")
    source = tmp_path / "header.cc"
    source.write_text(
        '#include "edgecomp/edgecomp.h"\n'
        "int main() { return ec_status_name(EC_OK) == nullptr; }\n"
    )
    command = [cpp, "-std=c++17", "-pedantic", "-Wall", "-Wextra", "-Werror",
               f"-I{RUNTIME}/include", source, *runtime_objects()[0].values(), "-pthread", "-o", tmp_path / "program"]  # fmt: skip
    subprocess.run(command, check=True)
    subprocess.run([tmp_path / "program"], check=True)


def test_no_memory_or_files_below_the_host():
    """Core, exec and the devices ask the system for nothing."""
    if not shutil.which("nm"):
        pytest.skip("nm is not installed")
    forbidden = {"malloc", "calloc", "realloc", "free", "posix_memalign", "aligned_alloc", "mmap",
                 "open", "fopen", "read", "write", "printf", "abort", "exit",
                 "ec_memory_allocate", "ec_memory_allocate_zeroed", "ec_file_map_open"}  # fmt: skip
    objects, _ = runtime_objects()
    paths = [p for p in objects if layer_of(pathlib.Path(p)) in ("core", "exec", "device")]
    assert len(paths) > 10
    for path in paths:
        command = ["nm", "-u", objects[path]]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        undefined = {line.split()[-1] for line in text.splitlines()}
        assert not undefined & forbidden, path


@pytest.mark.parametrize("target", ["aarch64-macos", "arm-linux-musleabihf"])
def test_other_systems(tmp_path, target):
    """The sources compile where neither glibc nor Linux is."""
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed (pip install 'edgecomp[zig]')")
    for path in listed("sources.txt") + listed("runner_sources.txt"):
        command = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-std=c11", "-O2",
                   "-Wall", "-Wextra", "-Werror", f"-I{RUNTIME}/include", f"-I{RUNTIME}/src",
                   "-c", path, "-o", tmp_path / "one.o"]  # fmt: skip
        subprocess.run(command, check=True)


def test_formatted():
    if not shutil.which("clang-format-19"):
        pytest.skip("clang-format-19 is not installed")
    subprocess.run(["clang-format-19", "--dry-run", "--Werror", *map(str, ALL_C)], check=True)


def test_clang_tidy():
    if not shutil.which("clang-tidy-19"):
        pytest.skip("clang-tidy-19 is not installed")
    command = ["clang-tidy-19", "--quiet", *listed("sources.txt"), *listed("runner_sources.txt"),
               "--", "-std=c11", f"-I{RUNTIME}/include", f"-I{RUNTIME}/src"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module", params=[(), ("-U__SSE2__",)], ids=["own", "plain"])
def hash_of(tmp_path_factory, request):
    """ec_xxh3 of this machine's build, and of the lines for processors without SSE2."""
    import ctypes

    folder = tmp_path_factory.mktemp("xxh3")
    library = compile_plain(folder / "libxxh3.so", [RUNTIME / "src/core/xxh3.c"], "-shared",
                            "-fPIC", "-fvisibility=default", *request.param)  # fmt: skip
    function = ctypes.CDLL(str(library)).ec_xxh3
    function.restype = ctypes.c_uint64
    function.argtypes = [ctypes.c_char_p, ctypes.c_uint64]
    return lambda data: function(data, len(data))


@given(data=st.binary(max_size=300))
def test_hash_of_any_bytes(hash_of, data):
    assert hash_of(data) == xxhash.xxh3_64(data).intdigest()


def test_hash_of_every_length(hash_of, rng):
    """One function for each few lengths, stripes and blocks up to the first two of these."""
    data = rng.bytes(2200)
    for length in range(len(data) + 1):
        assert hash_of(data[:length]) == xxhash.xxh3_64(data[:length]).intdigest(), length


@pytest.mark.parametrize("length", [65_536, 1_000_000, 3_000_017])
def test_hash_of_many_bytes(hash_of, rng, length):
    data = rng.bytes(length)
    assert hash_of(data) == xxhash.xxh3_64(data).intdigest()
