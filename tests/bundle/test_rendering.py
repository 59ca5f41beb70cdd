"""C literals survive a C compiler."""

import shutil
import subprocess

import hypothesis
import hypothesis.strategies as st
import jinja2
import pytest

from edgecomp.bundle import rendering
from edgecomp.bundle.rendering import c_string, keep_compiled, markdown_cell, render

NASTY = [
    "",
    'quote" \\ back',
    "??/ trigraph",
    "é中\U0001f600",
    "a\nb\tc",
    "\x010",
    "%s%d",
    "*/",
]


@hypothesis.given(st.text())
def test_a_c_literal_is_plain_ascii_and_reversible(text):
    literal = c_string(text)
    assert literal.isascii()
    assert literal.isprintable()
    body, out, i = literal[1:-1], bytearray(), 0
    while i < len(body):
        if body[i] == "\\":
            out.append(int(body[i + 1 : i + 4], 8))
            i += 4
        else:
            out.append(ord(body[i]))
            i += 1
    assert out.decode() == text


def test_the_compiler_reads_the_same_text(tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        pytest.skip("no C compiler on this machine")
    rows = ",".join(c_string(t) for t in NASTY)
    (tmp_path / "p.c").write_text(
        f"#include <stdio.h>\nstatic const char *const rows[] = {{ {rows} }};\n"
        f"int main(void) {{ for (int i = 0; i < {len(NASTY)}; i++) fwrite(rows[i], 1, "
        "__builtin_strlen(rows[i]) + 1, stdout); return 0; }\n"
    )
    program = str(tmp_path / "p")
    subprocess.run(
        [compiler, "-std=c99", "-Wall", "-Werror", str(tmp_path / "p.c"), "-o", program],
        check=True,
    )
    out = subprocess.run([program], check=True, capture_output=True).stdout
    assert out.decode().split("\0")[:-1] == NASTY


def test_a_missing_name_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        render("weights.S.j2")


def test_cells_stay_in_their_cell():
    assert markdown_cell("a|b\nc") == "a\\|b c"


@pytest.fixture
def environments(monkeypatch):
    """New environments, as a new process has them; they say what they compile."""
    compiled = []
    compile_template = jinja2.Environment.compile

    def watched(self, *arguments, **named):
        compiled.append(arguments)
        return compile_template(self, *arguments, **named)

    monkeypatch.setattr(jinja2.Environment, "compile", watched)
    yield compiled
    rendering._environment.cache_clear()


def rendered(cache):
    rendering._environment.cache_clear()
    keep_compiled(cache)
    return render("config.cmake.j2", name="m", static="lib/libm.a", shared="lib/libm.so")


def test_templates_are_compiled_once(tmp_path, environments):
    first = rendered(tmp_path)
    assert len(environments) == 1
    assert rendered(tmp_path) == first
    assert len(environments) == 1
    (path,) = (tmp_path / "templates").iterdir()
    content = path.read_bytes()
    damaged = content[:-1] + bytes([content[-1] ^ 1])
    path.write_bytes(damaged)  # not run, but compiled again
    assert rendered(tmp_path) == first
    assert len(environments) == 2


def test_another_compiler_does_not_take_what_one_has_compiled(
    tmp_path, environments, monkeypatch
):
    rendered(tmp_path)
    monkeypatch.setattr(rendering, "_compiler", lambda: "another version")
    rendered(tmp_path)
    assert len(environments) == 2
