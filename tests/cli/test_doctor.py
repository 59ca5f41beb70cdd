"""edgecomp doctor: what is there, what is missing and how to get it."""

import dataclasses
import importlib.metadata
import shutil

import pytest

from edgecomp.doctor import host, packages, programs, toolchains
from edgecomp.doctor.finding import Finding, State


@pytest.fixture
def quick(monkeypatch):
    """The compilers are probed in a test of their own."""
    ok = Finding(name="host", state=State.OK, fatal=True)
    monkeypatch.setattr(toolchains, "look", lambda: [ok])
    return monkeypatch


def test_the_table_and_the_json_name_the_same_things(run, quick):
    facts = run("doctor", "--json").json
    result = run("doctor", "-q")
    assert result.err == ""
    for section, findings in facts.items():
        assert section in result.out
        for finding in findings:
            assert finding["name"] in result.out


def test_pinned_packages_are_compared(monkeypatch):
    assert all(f.state is State.OK for f in packages.look() if f.fatal)
    version = importlib.metadata.version
    older = lambda name: "0.26.0" if name == "apache-tvm" else version(name)  # noqa: E731
    monkeypatch.setattr(packages.importlib.metadata, "version", older)
    tvm = next(f for f in packages.look() if f.name == "apache-tvm")
    assert tvm.state is State.WRONG
    assert "0.26.0, needs ==" in tvm.found
    assert tvm.hint.startswith("pip install 'apache-tvm==")


def test_a_missing_package_has_its_pip_command(monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(packages.importlib.metadata, "version", version)
    found = {f.name: f for f in packages.look()}
    assert found["click"].fatal
    assert found["click"].hint == "pip install 'click>=8.1'"
    assert not found["torch"].fatal
    assert found["torch"].hint == "pip install 'edgecomp[torch]'"


def test_without_the_repository_the_installed_metadata_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(packages.edgecomp, "__file__", str(tmp_path / "edgecomp/__init__.py"))
    texts = ["click>=8.1", 'torch==2.13.0; extra == "torch"', 'pytest; extra == "test"']
    monkeypatch.setattr(packages.importlib.metadata, "requires", lambda _: texts)
    assert [f.name for f in packages.look()] == ["click", "torch"]


def test_missing_programs_have_a_hint(monkeypatch):
    monkeypatch.setattr(programs.shutil, "which", lambda _: None)
    for finding in programs.look():
        assert finding.state is State.MISSING
        assert finding.hint.startswith("apt install ")
    assert {f.name for f in programs.look()} >= {"qemu-aarch64", "qemu-arm", "ssh", "cmake"}


def test_a_compiler_really_compiles():
    if not shutil.which("cc"):
        pytest.skip("no C compiler called cc: apt install gcc")
    finding = toolchains._find(toolchains.load_target("host"))
    assert finding.state is State.OK
    assert finding.found.startswith("cc: ")


def test_a_compiler_that_fails_is_wrong(tmp_path, monkeypatch):
    target = toolchains.load_target("host")
    fake = tmp_path / "fakecc"
    fake.write_text('#!/bin/sh\n[ "$1" = --version ] && echo fake 1.0 && exit 0\nexit 3\n')
    fake.chmod(0o755)
    toolchain = dataclasses.replace(target.toolchain, compilers=(str(fake),))
    finding = toolchains._find(dataclasses.replace(target, toolchain=toolchain))
    assert finding.state is State.WRONG
    assert "status 3" in finding.found


def test_no_compiler_at_all_ends_with_9(run, monkeypatch):
    monkeypatch.setattr(toolchains, "find_compiler", lambda _: None)
    result = run("doctor")
    assert result.status == 9
    assert "hint: host: apt install gcc or pip install ziglang" in result.out


def test_only_the_host_is_fatal(run, monkeypatch):
    real = toolchains.find_compiler
    only_host = lambda t: real(t) if t.name == "host" else None  # noqa: E731
    monkeypatch.setattr(toolchains, "find_compiler", only_host)
    result = run("doctor")
    assert result.status == 0
    assert "missing" in result.out


def test_the_host_is_described():
    python, machine = host.look()
    assert python.state is State.OK
    assert "cores" in machine.found
