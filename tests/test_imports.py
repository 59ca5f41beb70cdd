"""Imports go one way: CONTRIBUTING.md says which, the layers below are that as data."""

import ast
import pathlib
import re

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "edgecomp"

#: Packages and modules of ``edgecomp``, from above. Each imports only from layers below its own:
#: those of one layer do not import each other.
LAYERS = (
    {"__main__"},
    {"cli"},
    {"api"},
    {"steps", "doctor"},
    {"budget"},
    {"tune", "debugging"},
    {"frontend", "passes", "compress", "lower", "bundle", "bench", "train"},
    {"calibrate", "schedules", "native", "reference", "recipe"},
    {"images", "native_model"},
    {"graph", "device", "plan", "options"},
    {
        "cache",
        "data_file",
        "explanations",
        "file_hash",
        "native_abi",
        "numpy_files",
        "onnxruntime_library",
        "progress",
        "records",
        "resources",
        "onnx_ir_import",
        "tvm_import",
        "user_files",
        "writable",
    },
    {"buffers"},
    {"cache_folder", "held"},
    {"errors"},
)
#: Library -> who imports it at the head of a file; all others only where they use it, so that
#: what needs no model answers at once.
HEAVY = {
    "torch": {"train"},
    "onnxruntime": set(),
    "tvm": {"lower", "schedules"},
    "tvm_ffi": {"lower", "schedules"},
}


def _part(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


#: ``__init__`` is above and below all: it imports what a user names when it is named.
PARTS = {_part(path) for path in PACKAGE.rglob("*.py")} - {"__init__"}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if _part(path) in PARTS)


def _imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module == "edgecomp":
        return [f"edgecomp.{alias.name}" for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return ["." if node.level else node.module]
    return []


def _wrong(text, own):
    """Lines of a module of one part with an import that may not be there."""
    depth = {name: index for index, layer in enumerate(LAYERS) for name in layer}
    tree = ast.parse(text)
    for node in ast.walk(tree):
        for name in _imported(node):
            top, _, rest = name.partition(".")
            other = rest.partition(".")[0]
            where = f"{node.lineno}: {name}"
            if not top:
                yield f"{where}: not absolute"
            elif top == "edgecomp" and other in PARTS - {own} and depth[other] <= depth[own]:
                yield f"{where}: of the same layer or above"
            elif top in HEAVY and node in tree.body and own not in HEAVY[top]:
                yield f"{where}: at the head of the file"


def test_every_part_has_a_layer():
    named = [name for layer in LAYERS for name in layer]
    assert sorted(named) == sorted(PARTS)


def test_imports():
    wrong = {
        str(path.relative_to(PACKAGE)): lines
        for path in FILES
        if (lines := list(_wrong(path.read_text(), _part(path))))
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("own", "text", "problem"),
    [
        ("graph", "def f():\n    from edgecomp.passes import outcome", "2: .* above"),
        ("passes", "import edgecomp.lower.lower", "same layer"),
        ("passes", "from edgecomp import api", "above"),
        ("cli", "from . import build", "not absolute"),
        ("frontend", "import torch.nn", "head of the file"),
    ],
)
def test_what_is_wrong_is_found(own, text, problem):
    (line,) = _wrong(text, own)
    assert re.search(problem, line)
