"""Whole bundles: layout, reproducible bytes, what an app can link, and failures."""

import dataclasses
import hashlib
import json
import logging
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import xxhash
from helpers.small_plan import (
    golden,
    portable_model,
    small_plan,
    without_compiler,
    write_small,
)
from helpers.targets import A53, ARMV7, AVX2, reason_not_runnable

import edgecomp
from edgecomp.bundle import elf
from edgecomp.bundle.write import write_bundle
from edgecomp.errors import Code, EdgecompError

MACHINES = {"avx2": 62, "a53": 183, "armv7": 40}


def _contents(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_layout_and_manifest(bundle, target):
    files = _contents(bundle.directory)
    for name in (
        "manifest.json",
        "model.onnx",
        "weights.bin",
        "include/small.h",
        "include/edgecomp/edgecomp.h",
        "include/edgecomp/model.h",
        "src/small.c",
        "src/runtime/sources.txt",
        "src/runtime/tools/edgecomp_run.c",
        "lib/libsmall.so",
        "lib/libsmall.a",
        "bin/edgecomp_run",
        "cmake/smallConfig.cmake",
        "CMakeLists.txt",
        "golden/golden.npz",
        "golden/1/output_1.bin",
        "report.json",
        "report.md",
    ):
        assert name in files, name
    content = json.loads(files.pop("manifest.json"))
    assert content["files"] == {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }
    assert content["weights"]["xxh3"] == xxhash.xxh3_64_hexdigest(files["weights.bin"])
    assert content["target"]["features"] == sorted(target.core.features)
    assert content["versions"]["edgecomp"] == edgecomp.__version__
    assert set(content["versions"]) == {"edgecomp", "apache-tvm", "onnx", "onnx-ir"}
    assert content["passes"] == ["FoldConstantsPass"]
    assert content["accuracy"] == {"top1": 0.5}
    assert content["inputs"][1] == {"name": "in/counts", "dtype": "int32", "shape": [9]}
    assert files["model.onnx"] == portable_model()
    assert content["memory"]["arena_bytes"] == small_plan(target).arena_bytes
    assert content["build"]["note"] == ""
    assert content["build"]["compiler"]


def test_libraries_fit_their_machine_and_app_stores(bundle, target):
    for path in (bundle.library_path, bundle.runner_path):
        parsed = elf.parse(path.read_bytes())
        assert parsed.machine == MACHINES[target.name]
        assert not parsed.executable_stack
        if target.name == "a53":
            assert parsed.page_bytes >= 16384
        assert not [s for s in parsed.symbols() if s.name], "not stripped"


def test_a_library_shows_only_the_c_interface(bundle):
    nm = shutil.which("nm")
    if not nm:
        pytest.skip("nm is not installed (apt install binutils)")
    out = subprocess.run(
        [nm, "-D", "--defined-only", str(bundle.library_path)], check=True, capture_output=True
    ).stdout.decode()
    names = {line.split()[-1] for line in out.splitlines()}
    assert {"ec_model_small", "ec_model_default", "ec_session_open"} <= names
    header = (bundle.directory / "include/edgecomp/edgecomp.h").read_text()
    declared = set(re.findall(r"\b(ec_\w+)\(", header))
    assert names - {"ec_model_small", "ec_model_default"} <= declared


def test_two_builds_give_the_same_bytes(bundle, target, tmp_path):
    """Another folder, another working folder, an empty cache: nothing of it is in the bundle."""
    again = write_small(target, tmp_path / "elsewhere" / "other", cache=tmp_path / "cache")
    assert _contents(again.directory) == _contents(bundle.directory)
    for name, data in _contents(again.directory).items():
        assert str(tmp_path).encode() not in data, name


def test_without_a_compiler_the_rest_is_written(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        bundle = write_small(without_compiler(AVX2), tmp_path / "small")
    assert "install no-such-cc" in caplog.text
    assert bundle.library_path is None
    assert bundle.runner_path is None
    assert "install no-such-cc" in bundle.manifest.build.note
    assert "install no-such-cc" in (tmp_path / "small/report.md").read_text()
    assert not (tmp_path / "small/lib").exists()
    with pytest.raises(EdgecompError) as caught:
        bundle.run(golden()[0][0])
    assert caught.value.code is Code.TOOLCHAIN_MISSING


def test_asked_for_no_libraries(tmp_path, caplog):
    bundle = write_small(AVX2, tmp_path / "small", toolchain="none")
    assert bundle.manifest.build.note == "lib/ and bin/ were not built, as asked"
    assert not caplog.text


def test_a_library_can_be_required(tmp_path):
    with pytest.raises(EdgecompError) as caught:
        write_small(without_compiler(AVX2), tmp_path / "small", require_library=True)
    assert caught.value.code is Code.TOOLCHAIN_MISSING
    assert caught.value.hint == "install no-such-cc"
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_linking_fails(tmp_path):
    plan = small_plan(AVX2)
    broken = dataclasses.replace(plan, objects=dict(list(plan.objects.items())[1:]))
    with pytest.raises(EdgecompError, match=r"undefined|unresolved") as caught:
        write_bundle(
            broken, AVX2, tmp_path / "small", model_bytes=b"x", golden=golden(), facts={}
        )
    assert caught.value.code is Code.TOOLCHAIN_FAILED
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "1x", "a-b", "a b", "ä", 'x";'])
def test_names_that_are_no_c_identifiers(tmp_path, name):
    plan = dataclasses.replace(small_plan(AVX2), name=name)
    with pytest.raises(EdgecompError) as caught:
        write_bundle(plan, AVX2, tmp_path / "x", model_bytes=b"", golden=[], facts={})
    assert caught.value.code is Code.USAGE


def test_an_existing_output_is_an_error_before_anything_is_compiled(tmp_path):
    (tmp_path / "small").mkdir()
    with pytest.raises(EdgecompError) as caught:
        write_small(AVX2, tmp_path / "small")
    assert caught.value.code is Code.OUTPUT_EXISTS


def test_progress_reaches_the_end(tmp_path):
    steps = []
    write_small(AVX2, tmp_path / "small", progress=lambda *step: steps.append(step))
    assert steps[-1][1] == steps[-1][2] > 10


PRELUDE = """
import pickle, sys
from edgecomp.bundle.write import write_bundle
from edgecomp.errors import EdgecompError
plan, target, out = pickle.load(sys.stdin.buffer)
rest = {"model_bytes": b"x", "golden": [], "facts": {}}
"""


def _child(out, script, **options):
    """Run a script with the plan at hand, so that the child need not load TVM."""
    paths = os.pathsep.join(p for p in sys.path if p)
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(script)],
        check=False,
        capture_output=True,
        input=pickle.dumps((small_plan(AVX2), AVX2, str(out))),
        env={**os.environ, "PYTHONPATH": paths},
        **options,
    )


def test_full_disk(tmp_path):
    """A limit on the size of files stands in for a full disk: the portable model is too large."""
    done = _child(
        tmp_path / "small",
        """
        try:
            write_bundle(plan, target, out, **{**rest, "model_bytes": bytes(1 << 21)})
        except EdgecompError as error:
            print(error.code.name)
        """,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
    )
    assert done.stdout.decode().strip() == "OUTPUT_UNWRITABLE", done.stderr.decode()
    assert list(tmp_path.iterdir()) == []


def test_killed_in_the_middle(tmp_path):
    script = """
        import os, signal
        from edgecomp.bundle import report
        report.report_json = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        write_bundle(plan, target, out, **rest)
        """
    assert _child(tmp_path / "small", script).returncode == -signal.SIGKILL
    assert not (tmp_path / "small").exists()
    assert len(list(tmp_path.iterdir())) == 1
    write_small(AVX2, tmp_path / "small").check()
    assert [p.name for p in tmp_path.iterdir()] == ["small"]


APP = """
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "small.h"

/* Reads the inputs of a golden vector, runs and prints the outputs. */
static void load(const char *path, void *data, size_t bytes) {
  FILE *f = fopen(path, "rb");
  if (!f || fread(data, 1, bytes, f) != bytes) exit(2);
  fclose(f);
}

int main(int argc, char **argv) {
  float pixels[SMALL_INPUT_0_BYTES / 4], scores[SMALL_OUTPUT_0_BYTES / 4];
  int32_t counts[SMALL_INPUT_1_BYTES / 4], line[SMALL_OUTPUT_1_BYTES / 4];
  ec_open_options options = ec_open_options_default();
  ec_session *session = NULL;
  (void)argc;
  load(argv[1], pixels, sizeof pixels);
  load(argv[2], counts, sizeof counts);
  options.weights_path = argv[3][0] ? argv[3] : NULL;
  if (ec_session_open(ec_model_small(), &options, &session) != EC_OK) {
    fprintf(stderr, "%s\\n", ec_last_message());
    return 3;
  }
  if (ec_session_set_input(session, 0, pixels, sizeof pixels) != EC_OK ||
      ec_session_set_input(session, 1, counts, sizeof counts) != EC_OK ||
      ec_session_run(session) != EC_OK ||
      ec_session_get_output(session, 0, scores, sizeof scores) != EC_OK ||
      ec_session_get_output(session, 1, line, sizeof line) != EC_OK) {
    return 4;
  }
  for (size_t i = 0; i < sizeof scores / 4; i++) printf("%.9g ", (double)scores[i]);
  for (size_t i = 0; i < sizeof line / 4; i++) printf("%d ", line[i]);
  ec_session_close(session);
  return 0;
}
"""

LISTS = """
cmake_minimum_required(VERSION 3.16)
project(app LANGUAGES C)
{find}
add_executable(app app.c)
target_link_libraries(app PRIVATE small::{library})
"""


def _build_app(bundle, target, folder, find, library="small"):
    if not shutil.which("cmake"):
        pytest.skip("cmake is not installed (apt install cmake)")
    folder.mkdir()
    (folder / "app.c").write_text(APP)
    (folder / "CMakeLists.txt").write_text(LISTS.format(find=find, library=library))
    compiler = next(c for c in target.toolchain.compilers if shutil.which(c))
    configure = [
        "cmake",
        "-S",
        str(folder),
        "-B",
        str(folder / "build"),
        f"-DCMAKE_PREFIX_PATH={bundle.directory}",
        f"-DCMAKE_C_COMPILER={compiler}",
        "-DCMAKE_BUILD_TYPE=Release",
        "-DCMAKE_FIND_ROOT_PATH_MODE_PACKAGE=BOTH",
    ]
    if target.emulator:
        machine = {"aarch64": "aarch64", "armv7": "armv7l"}[target.core.isa]
        configure += ["-DCMAKE_SYSTEM_NAME=Linux", f"-DCMAKE_SYSTEM_PROCESSOR={machine}"]
    for command in (configure, ["cmake", "--build", str(folder / "build")]):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return str(folder / "build" / "app")


def _run_app(bundle, target, program, weights):
    vector = bundle.directory / "golden" / "0"
    emulator = target.emulator
    prefix = (
        [emulator.command, *emulator.arguments, "-L", emulator.sysroot] if emulator else []
    )
    done = subprocess.run(
        [*prefix, program, str(vector / "input_0.bin"), str(vector / "input_1.bin"), weights],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    values = np.array(done.stdout.split(), np.float64)
    expected = bundle.golden[0].outputs
    np.testing.assert_allclose(values[:21].reshape(3, 7), expected["scores"], 1e-5, 1e-6)
    np.testing.assert_array_equal(values[21:], expected["line"])


FIND = "find_package(small CONFIG REQUIRED)"


def test_an_app_finds_and_links_it(bundle, target, tmp_path):
    program = _build_app(bundle, target, tmp_path / "app", FIND)
    _run_app(bundle, target, program, str(bundle.weights_path))


def test_an_app_links_the_shared_library(host_bundle, tmp_path):
    program = _build_app(host_bundle, AVX2, tmp_path / "app", FIND, "shared")
    _run_app(host_bundle, AVX2, program, str(host_bundle.weights_path))


def test_an_app_builds_it_from_source(host_bundle, tmp_path):
    add = f'add_subdirectory("{host_bundle.directory}" small)'
    program = _build_app(host_bundle, AVX2, tmp_path / "app", add)
    _run_app(host_bundle, AVX2, program, str(host_bundle.weights_path))


@pytest.mark.parametrize("target", [AVX2, ARMV7, A53], ids=lambda t: t.name)
def test_weights_inside_the_library(target, tmp_path):
    if reason_not_runnable(target):
        pytest.skip(reason_not_runnable(target))
    bundle = write_small(target, tmp_path / "small", embed_weights=True)
    assert bundle.manifest.weights.embedded
    program = _build_app(bundle, target, tmp_path / "app", FIND)
    _run_app(bundle, target, program, "")


def test_without_libraries_find_package_builds_from_source(tmp_path):
    """The road for an SDK that is not on this machine; embedded weights go through .incbin."""
    bundle = write_small(AVX2, tmp_path / "small", toolchain="none", embed_weights=True)
    program = _build_app(bundle, AVX2, tmp_path / "app", FIND)
    _run_app(bundle, AVX2, program, "")
