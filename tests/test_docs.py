"""Generated reference pages are up to date; pages do not link to what is not there."""

import importlib.util
import pathlib
import re

import pytest

REPOSITORY = pathlib.Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "runtime/README.md")),
    *sorted(DOCS.glob("*.md")),
]
#: A file or folder of the repository; in <...> and at * anything may stand.
PATH = re.compile(
    r"(?<![\w/.-])(?:edgecomp|tests|runtime|targets|docs|examples|\.ci)/[\w./<>*-]*\w[/>*]?"
)
#: A source in code marks, without its first folders.
SOURCE = re.compile(r"`((?:\w+/)*[\w*]+\.(?:py|c|h|txt|toml))`")
#: What a build writes.
OF_A_BUNDLE = ("include/NAME.h",)


def generator():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["options.md", "errors.md", "targets.md"])
def test_a_generated_page_is_up_to_date(name):
    made = generator().PAGES[name]()
    assert made == (DOCS / name).read_text(), "run 'python docs/generate.py'"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_named_files_exist(page):
    text = page.read_text()
    missing = [path for path in PATH.findall(text) if not exists(path)]
    for path in SOURCE.findall(text):
        if not PATH.match(path) and path not in OF_A_BUNDLE:
            found = (
                exists(f"{folder}/**/{path}") for folder in ("edgecomp", "runtime", "tests")
            )
            missing += [] if any(found) else [path]
    assert missing == []


def exists(path):
    """Whether the repository has a file or folder of the name; <...>, NAME and DEVICE are anything."""
    return any(REPOSITORY.glob(re.sub("<[^>]*>|NAME|DEVICE", "*", path).rstrip("/")))
