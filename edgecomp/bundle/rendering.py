"""Templates, and how text is quoted inside them."""

import functools
import hashlib
import pathlib
import sys
from typing import Any

import jinja2
from jinja2.bccache import Bucket

from edgecomp.cache import keep, kept
from edgecomp.file_hash import file_sha256


def render(template: str, **values: Any) -> str:
    """Fill a file of ``templates/``; a name that is missing there is an error."""
    return _environment().get_template(template).render(**values)


def c_string(text: str) -> str:
    """A C string literal. Octal escapes end after three digits, so nothing can run together."""
    plain = set(range(0x20, 0x7F)) - set(b'"\\?')  # "?" could begin a trigraph
    body = "".join(chr(b) if b in plain else f"\\{b:03o}" for b in text.encode())
    return f'"{body}"'


def markdown_cell(text: object) -> str:
    """Text inside a cell of a Markdown table."""
    return str(text).replace("|", "\\|").replace("\n", " ")


def keep_compiled(cache: pathlib.Path) -> None:
    """Keep what templates are compiled to in a cache folder, from now on.

    They are compiled to Python, which takes a third of a second otherwise in every build.
    """
    _environment().bytecode_cache = _Compiled(cache / "templates")


class _Compiled(jinja2.BytecodeCache):
    """Compiled templates in a folder, found by their text and by what compiles them."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder

    def load_bytecode(self, bucket: Bucket) -> None:
        """Fill the bucket, where its template was compiled before."""
        content = kept(self._path(bucket))
        if content is not None:
            bucket.bytecode_from_string(content)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Store a compiled template."""
        keep(self._path(bucket), bucket.bytecode_to_string())

    def _path(self, bucket: Bucket) -> pathlib.Path:
        parts = (bucket.key, bucket.checksum, _compiler())
        return self._folder / hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@functools.cache
def _compiler() -> str:
    """Versions of what compiles, and this file, which sets its options."""
    own = file_sha256(pathlib.Path(__file__))
    return f"{jinja2.__version__} {sys.version} {own}"


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=jinja2.select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["c_string"] = c_string
    environment.filters["cell"] = markdown_cell
    return environment
