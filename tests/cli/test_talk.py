"""Progress, tables, logs."""

import io
import sys

import pytest

from edgecomp.cli import talk
from edgecomp.cli.table import size, table
from edgecomp.cli.talk import Talk
from edgecomp.options import TalkOptions


def steps(options):
    with Talk(options).progress() as progress:
        progress("read the model")
        for done in range(4):
            progress("compile kernels", done, 3)
        progress("link")


def test_without_a_terminal_each_step_is_a_line(capsys):
    steps(TalkOptions())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "read the model ...",
        "compile kernels ...",
        "link ...",
    ]


def test_a_long_step_says_how_far_it_is(capsys, monkeypatch):
    monkeypatch.setattr(talk, "_LINE_INTERVAL_S", 0.0)
    steps(TalkOptions())
    assert "compile kernels: 2 of 3" in capsys.readouterr().err.splitlines()


def test_quiet_says_nothing(capsys):
    steps(TalkOptions(quiet=True))
    Talk(TalkOptions(quiet=True)).note("a note")
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_bars_on_stderr(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm-256color")
    steps(TalkOptions())
    shown = sys.stderr.getvalue()
    for text in ("read the model", "compile kernels", "3/3", "link"):
        assert text in shown
    assert capsys.readouterr().out == ""


def test_a_table_aligns_its_columns():
    text = table(("name", "count"), [("a", 5), ("bcdef", 10)])
    assert text.splitlines() == [
        "name   count",
        "-----  -----",
        "a          5",
        "bcdef     10",
    ]


def test_an_empty_table_is_its_header():
    assert table(("name", "count"), []).splitlines()[0] == "name  count"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (5 << 20, "5 MiB")],
)
def test_sizes(count, text):
    assert size(count) == text
