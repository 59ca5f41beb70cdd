"""Facts out of ELF headers, against binutils where they are installed."""

import re
import shutil
import subprocess

import pytest
from helpers.small_plan import small_plan
from helpers.targets import A53, ARMV7, AVX2

from edgecomp.bundle import elf


@pytest.fixture(params=[AVX2, A53, ARMV7], ids=lambda t: t.name)
def kernel(request, tmp_path):
    name, content = next(iter(small_plan(request.param).objects.items()))
    path = tmp_path / f"{name}.o"
    path.write_bytes(content)
    return name, path


def _readelf(*arguments):
    if not shutil.which("readelf"):
        pytest.skip("readelf is not installed (apt install binutils)")
    done = subprocess.run(["readelf", "-W", *arguments], check=True, capture_output=True)
    return done.stdout.decode()


def test_sizes_are_those_of_readelf(kernel):
    _, path = kernel
    rows = re.findall(
        r"^ +\[ *\d+\] .*?(PROGBITS|ARM_EXIDX|NOTE|X86_64_UNWIND) +[0-9a-f]+ [0-9a-f]+ "
        r"([0-9a-f]+) [0-9a-f]+ +(\w*A\w*) ",
        _readelf("-S", str(path)),
        re.MULTILINE,
    )
    assert elf.loaded_bytes(path.read_bytes()) == sum(int(size, 16) for _, size, _ in rows)


def test_symbols_are_those_of_readelf(kernel):
    name, path = kernel
    parsed = elf.parse(path.read_bytes())
    text = _readelf("-s", str(path))
    rows = [line.split() for line in text.splitlines() if re.match(r" +\d+:", line)]
    bindings = {"LOCAL": 0, "GLOBAL": 1, "WEAK": 2}
    expected = {
        (r[7], bindings[r[4]], r[6] != "UND") for r in rows if r[3] != "SECTION" and r[7:]
    }
    found = {(s.name, s.binding, s.defined) for s in parsed.symbols() if s.name}
    assert expected == found
    assert (name, 1, True) in found


def test_weak_helpers_get_names_of_their_own(kernel):
    name, path = kernel
    content = elf.own_weak_symbols(path.read_bytes())
    names = {s.name for s in elf.parse(content).symbols() if s.defined}
    assert name in names
    assert not [n for n in names if n.startswith("__")]
    assert {n for n in names if n.startswith("ec") and "hf" in n} == {
        "ectruncsfhf2",
        "ecextendhfsf2",
    }
    assert elf.own_weak_symbols(content) == content


def test_other_formats():
    assert elf.parse(b"\xcf\xfa\xed\xfe" + bytes(60)) is None
    assert elf.loaded_bytes(b"MZ" + bytes(8)) == 10
    assert elf.own_weak_symbols(b"MZ") == b"MZ"
