"""Configure, build and run the C tests of the runtime, in every variant that this machine can."""

import dataclasses
import functools
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to build the runtime: options of CMake, and the programs it needs."""

    options: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    sanitizer: str = ""


def cross(triple, emulator):
    """A build for another processor, whose tests run under an emulator."""
    toolchain = ROOT / "runtime" / "cmake" / f"{triple}.cmake"
    return Variant((f"-DCMAKE_TOOLCHAIN_FILE={toolchain}",), (f"{triple}-gcc", emulator))


VARIANTS = {
    "host": Variant(),
    "no_messages": Variant(
        ("-DEC_NO_MESSAGES=ON", "-DCMAKE_C_COMPILER=clang-19"), ("clang-19",)
    ),
    "address_undefined": Variant(sanitizer="address,undefined"),
    "thread": Variant(sanitizer="thread"),
    "thread_condition_variables": Variant(("-DEC_NO_FUTEX=ON",), sanitizer="thread"),
    "aarch64": cross("aarch64-linux-gnu", "qemu-aarch64"),
    "armv7": cross("arm-linux-gnueabihf", "qemu-arm"),
}


def require_programs(*names):
    """Skip unless all are installed."""
    for name in names:
        if not shutil.which(name):
            pytest.skip(f"{name} is not installed")


@functools.cache
def reason_without_sanitizer(sanitizer):
    """Why programs with a sanitizer cannot be built or run here, or ""."""
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "probe.c"
        source.write_text("int main(void) { return 0; }\n")
        program = source.with_suffix("")
        command = ["cc", f"-fsanitize={sanitizer}", source, "-o", program]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            return f"the C compiler has no -fsanitize={sanitizer}"
        if subprocess.run([program], capture_output=True, check=False).returncode != 0:
            return f"programs with -fsanitize={sanitizer} do not run on this kernel"
    return ""


def run(command, **kwargs):
    """Output of a command; its text is shown when it fails."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **kwargs
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Variant -> its build folder, built once; the folders go with the module."""
    folders = {}

    def folder_of(name):
        if name not in folders:
            folders[name] = build(name, tmp_path_factory.mktemp(f"runtime-{name}"))
        return folders[name]

    yield folder_of
    for folder in folders.values():
        shutil.rmtree(folder)


def build(name, folder):
    """Build a variant in a folder."""
    variant = VARIANTS[name]
    require_programs("cmake", "ctest", *variant.programs)
    options = list(variant.options)
    if variant.sanitizer:
        reason = reason_without_sanitizer(variant.sanitizer)
        if reason:
            pytest.skip(reason)
        options += [f"-DEC_SANITIZE={variant.sanitizer}", "-DEC_BUILD_SHARED=OFF"]
    if shutil.which("ninja"):
        options += ["-G", "Ninja"]
    run(["cmake", "-S", ROOT, "-B", folder, *options])
    run(["cmake", "--build", folder, "--parallel", str(os.cpu_count() or 1)])
    return folder


@pytest.mark.parametrize("name", VARIANTS)
def test_c_tests(name, built, figure):
    folder = built(name)
    output = run(["ctest", "--test-dir", folder, "--output-on-failure", "-V"])
    passed = re.search(r"100% tests passed, 0 tests failed out of (\d+)", output)
    assert passed
    assert int(passed[1]) >= 14
    for line in re.findall(r"\d+: (session memory .*|.* allocations in .*)", output):
        print(f"{name}: {line}")
    for threads, count in re.findall(r"(\d+) threads: (\d+) allocations in", output):
        figure(f"allocations after open, {name}, {threads} thread(s)", count, "0")


@pytest.mark.parametrize(
    ("name", "tools"), [("host", ""), ("aarch64", "aarch64-linux-gnu-"),
                        ("armv7", "arm-linux-gnueabihf-")]
)  # fmt: skip
def test_stripped_size(name, tools, built, tmp_path, figure):
    """The whole runtime without kernels, as a library of its own."""
    folder = built(name)
    require_programs(f"{tools}strip", f"{tools}size")
    library = tmp_path / "libedgecomp_runtime.so"
    run([f"{tools}strip", folder / "libedgecomp_runtime.so", "-o", library])
    text, data, bss = map(int, run([f"{tools}size", library]).splitlines()[1].split()[:3])
    figure(
        f"runtime core without kernels, stripped, {name}",
        f"{library.stat().st_size} bytes, {text + data} of them loaded, {bss} zeroed",
        "at most 65536",
    )
    assert library.stat().st_size <= 64 * 1024
    assert text + data <= 44 * 1024


@pytest.mark.parametrize(
    ("name", "archive"),
    [
        ("OpenCL", "libedgecomp_runtime_opencl_driver.a"),
        ("CUDA", "libedgecomp_runtime_cuda.a"),
    ],
)
def test_size_of_a_back_end(name, archive, built, figure):
    """What it adds to the runtime, in the place of what stands in for it."""
    folder = built("host")
    require_programs("size")
    archives = ("libedgecomp_runtime.a", f"tests/runtime/{archive}")
    bare, whole = (
        sum(map(int, run(["size", "-t", folder / archive]).splitlines()[-1].split()[:2]))
        for archive in archives
    )
    figure(f"{name} back end, host", f"{whole - bare} bytes", "at most 24576")
    assert 0 < whole - bare <= 24 * 1024


def test_nothing_of_a_back_end_that_is_not_built(built):
    members = run(["ar", "t", built("host") / "libedgecomp_runtime.a"]).split()
    assert {"opencl_absent.c.o", "cuda_absent.c.o"} <= set(members)
    folders = [ROOT / "runtime" / "src" / "device" / name for name in ("opencl", "cuda")]
    own = {f"{path.name}.o" for folder in folders for path in folder.glob("*.c")}
    assert own & set(members) == {"opencl_absent.c.o", "cuda_absent.c.o"}


def test_functions_of_cuda_are_declared_as_its_own_header_does(tmp_path):
    header = pathlib.Path("/usr/local/cuda/include/cuda.h")
    if not header.is_file() or not shutil.which("gcc"):
        pytest.skip(f"there is no {header}, or no gcc")
    source = tmp_path / "types.c"
    source.write_text(
        "#define __CUDA_API_VERSION_INTERNAL /* older versions of functions, too */\n"
        "#include <cuda.h>\n"
        '#include "device/cuda/cu.h"\n'
        "#define CHECK_TYPE(name, parameters) \\\n"
        "  _Static_assert(__builtin_types_compatible_p(__typeof__(&cu##name), \\\n"
        '    cu_result(*) parameters), "cu" #name);\n'
        "EC_CU_FUNCTIONS(CHECK_TYPE)\n"
        + "".join(
            f'_Static_assert((unsigned)CUDA_ERROR_{name} == CU_{name}, "{name}");\n'
            for name in _cuda_results()
        )
        + "".join(
            f'_Static_assert((unsigned){theirs} == CU_{ours}, "{ours}");\n'
            for ours, theirs in _CUDA_NUMBERS.items()
        )
    )
    run(["gcc", "-std=gnu11", "-fsyntax-only", f"-I{ROOT}/runtime/src", f"-I{header.parent}",
         source])  # fmt: skip


#: Numbers of the back end's own header -> names of CUDA's.
_CUDA_NUMBERS = {
    "DEVICE_MAX_BLOCK_DIM_X": "CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X",
    "DEVICE_MAX_GRID_DIM_X": "CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X",
    "DEVICE_MAJOR": "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR",
    "DEVICE_MINOR": "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR",
    "FUNCTION_MAX_THREADS_PER_BLOCK": "CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK",
    "CAPTURE_RELAXED": "CU_STREAM_CAPTURE_MODE_RELAXED",
    "JIT_ERROR_LOG": "CU_JIT_ERROR_LOG_BUFFER",
    "JIT_ERROR_LOG_BYTES": "CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES",
    "COMPAT_NOT_SUPPORTED": "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
}


def _cuda_results():
    """Names of results in the back end's own header that CUDA's names likewise."""
    text = (ROOT / "runtime/src/device/cuda/cu.h").read_text()
    part = text.split("/* Results. */")[1].split("/* Questions")[0]
    short = {"SUCCESS", "COMPAT_NOT_SUPPORTED"}
    return sorted(set(re.findall(r"#define CU_(\w+)", part)) - short)


def test_exported_functions(built):
    """Those of the header and nothing else."""
    folder = built("host")
    require_programs("nm")
    lines = run(["nm", "-D", "--defined-only", folder / "libedgecomp_runtime.so"]).splitlines()
    exported = {line.split()[-1] for line in lines}
    header = (ROOT / "runtime/include/edgecomp/edgecomp.h").read_text()
    declared = set(re.findall(r"\b(ec_\w+)\(", header.split("/* Defaults")[1]))
    assert exported == declared


def test_install(built, tmp_path):
    """An installed runtime serves find_package(edgecomp_runtime)."""
    folder = built("host")
    prefix = tmp_path / "prefix"
    run(["cmake", "--install", folder, "--prefix", prefix])
    app = tmp_path / "app"
    app.mkdir()
    (app / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.21)\nproject(app C)\n"
        "find_package(edgecomp_runtime REQUIRED)\n"
        "add_executable(app main.c)\ntarget_link_libraries(app PRIVATE edgecomp::runtime)\n"
        "add_executable(app_shared main.c)\n"
        "target_link_libraries(app_shared PRIVATE edgecomp::runtime_shared)\n"
    )
    (app / "main.c").write_text(
        '#include <edgecomp/edgecomp.h>\n#include <stdio.h>\n'
        "int main(void) { puts(ec_status_name(EC_ERROR_WEIGHTS_HASH)); return 0; }\n"
    )  # fmt: skip
    run(["cmake", "-S", app, "-B", app / "build", f"-DCMAKE_PREFIX_PATH={prefix}"])
    run(["cmake", "--build", app / "build"])
    for program in ("app", "app_shared"):
        assert run([app / "build" / program]) == "weights_hash\n"
