"""Templates, and how text is quoted inside them."""

import functools
import pathlib
from typing import Any

import jinja2


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
