"""The scripts of this folder as their users meet them."""

import ast
import pathlib

import pytest
from benchmarks.flags import add_list, new_parser

SCRIPTS = [
    path
    for path in sorted(pathlib.Path(__file__).parent.glob("*.py"))
    if path != pathlib.Path(__file__) and '__name__ == "__main__"' in path.read_text()
]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_docstring_says_how_to_run_it(path):
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert f"python tests/benchmarks/{path.name}" in text


@pytest.mark.parametrize(
    ("given", "found"),
    [([], ["a"]), (["--words", "b, a"], ["b", "a"]), (["--words", "b"], ["b"])],
)
def test_some_of_the_known_words(given, found):
    parser = new_parser("text")
    add_list(parser, "--words", ("a", "b"), default=("a",))
    assert parser.parse_args(given).words == found


@pytest.mark.parametrize("wrong", ["c", "a,c", "", ","])
def test_other_words_are_refused(wrong, capsys):
    parser = new_parser("text")
    add_list(parser, "--words", ("a", "b"))
    with pytest.raises(SystemExit) as status:
        parser.parse_args(["--words", wrong])
    assert status.value.code == 2
    assert "a, b" in capsys.readouterr().err
