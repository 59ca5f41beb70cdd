"""Write the reference pages that come from code: ``python docs/generate.py``.

A test compares the committed pages with what this makes.
"""

import dataclasses
import json
import pathlib
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from edgecomp.device import gpu_file, read, target
from edgecomp.device.load import list_targets
from edgecomp.errors import Code, ExitCode
from edgecomp.explanations import EXPLANATIONS
from edgecomp.options import (
    CALIBRATION_METHODS,
    PRECISIONS,
    VERB_DEFAULTS,
    VERBS,
    TalkOptions,
    facts_of,
    fields_of,
    flag_of,
)
from edgecomp.recipe.schema import recipe_schema

FOLDER = pathlib.Path(__file__).parent
_NOTE = "<!-- Made by docs/generate.py: change the code it reads, then run it. -->"

_OPTIONS_TEXT = (
    "Flags may be written with `-` or `_`. A flag with a list as its type may be repeated; "
    "numbers in a list are separated by commas. `edgecomp build -c FILE` reads the same "
    "options from a YAML, TOML or JSON file, whose keys are the names without dashes in "
    "front (`num_samples` or `num-samples`), and `model`; flags go before the file. From "
    "Python they are the fields of the classes named."
)

_ERRORS_TEXT = (
    "An error is a stable code, one line of cause, where it happened (node, line of Python, "
    "file) and a `hint:`. With `--json` it is printed to stdout as well."
)

_TARGETS_TEXT = (
    "`host` is the machine edgecomp runs on; its facts are detected. Each of the others is a "
    "file in `targets/`. `--target` also takes the path of such a file."
)

_FILE_TEXT = (
    f"TOML with `schema = {read.SCHEMA}`. Tables and keys are those below; an unknown key is "
    "an error, an unknown figure is an absent key, and every figure has its source in "
    '`[sources]` (`"core.l2_bytes" = "document, page"`). To add a device, copy the file of '
    "the one most like it; no code changes."
)

Row = Sequence[str]


def options_page() -> str:
    """docs/options.md: every option of every verb."""
    parts = [
        "# Options",
        _NOTE,
        _OPTIONS_TEXT,
    ]
    seen: set[str] = set()
    for verb, cls in VERBS.items():
        if cls.__name__ not in seen:
            seen.add(cls.__name__)
            presets = VERB_DEFAULTS.get(verb, {})
            parts += [f"## edgecomp {verb}", _class_line(cls), _option_table(cls, presets)]
    parts += ["## Every verb", _class_line(TalkOptions), _option_table(TalkOptions, {})]
    parts += ["## Names with aliases", _alias_table()]
    return "\n\n".join(parts) + "\n"


def errors_page() -> str:
    """docs/errors.md: every code and every exit status."""
    statuses = [(str(int(s)), s.name.lower()) for s in ExitCode]
    codes = [
        (f"`{code.text}`", str(int(code.exit_code)), _cell(EXPLANATIONS[code]))
        for code in sorted(Code, key=lambda c: c.text)
    ]
    parts = [
        "# Errors",
        _NOTE,
        _ERRORS_TEXT,
        "## Exit status",
        _table(("status", "meaning"), statuses),
        "## Codes",
        _table(("code", "status", "meaning and remedy"), codes),
    ]
    return "\n\n".join(parts) + "\n"


_GPU_TEXT = (
    "The file of a target with a GPU has `cpu` and `[gpu]` in the place of `activation_dtype`, "
    "`[tvm]`, `[core]`, `[board]`, `[toolchain]` and `[emulator]`, which are those of the target "
    "that `cpu` names. Features of a GPU: "
    + ", ".join(f"`{feature}`" for feature in gpu_file.FEATURES)
    + ". [opencl.md](opencl.md) and [cuda.md](cuda.md) say what runs there."
)


def targets_page() -> str:
    """docs/targets.md: the targets there are, and the keys of a target file."""
    targets = [
        (
            f"`{t.name}`",
            ", ".join(f"`{a}`" for a in t.aliases),
            f"of `{t.cpu}`" if t.gpu else t.core.isa,
            " ".join(sorted((t.gpu or t.core).features)),
            _cell(t.summary),
        )
        for t in list_targets()
    ]
    features = [(isa, " ".join(f"`{f}`" for f in fs)) for isa, fs in read.FEATURES.items()]
    parts = [
        "# Targets",
        _NOTE,
        _TARGETS_TEXT,
        _table(("name", "aliases", "isa", "features", "what it is"), targets),
        "## A target file",
        _FILE_TEXT,
        "### Top level",
        _key_table(
            target.Target,
            ("threads", "core", "board", "toolchain", "emulator", "gpu", "floats", "tf32"),
        ),
    ]
    for name, cls in (
        ("core", target.Core),
        ("board", target.Board),
        ("toolchain", target.Toolchain),
        ("emulator", target.Emulator),
        ("gpu", target.Gpu),
        ("gpu.speed", target.GpuSpeed),
        ("gpu.textures", target.GpuTextures),
    ):
        parts += [f"### [{name}]", _key_table(cls, ("speed",))]
    parts += ["### Features", _table(("isa", "features"), features), _GPU_TEXT]
    return "\n\n".join(parts) + "\n"


def _class_line(cls: type) -> str:
    return f"`edgecomp.options.{cls.__name__}`: {(cls.__doc__ or '').strip().splitlines()[0]}"


def _option_table(cls: type, presets: Mapping[str, Any]) -> str:
    kinds = typing.get_type_hints(cls)
    rows = []
    for field in fields_of(cls):
        facts = facts_of(field)
        flags = ", ".join(f"`{flag}`" for flag in (*facts.flags, flag_of(field.name)))
        kind = " \\| ".join(facts.choices) or _kind(kinds[field.name])
        default = presets.get(field.name, field.default)
        rows.append((flags, kind, _default(default), _cell(facts.help)))
    return _table(("flag", "value", "default", "what it does"), rows)


def _alias_table() -> str:
    rows = [
        (f"`{flag}`", f"`{name}`", ", ".join(f"`{alias}`" for alias in aliases))
        for flag, known in (
            ("--precision", PRECISIONS),
            ("--calibration-method", CALIBRATION_METHODS),
        )
        for name, aliases in known.items()
        if aliases
    ]
    return _table(("flag", "name", "also"), rows)


def _key_table(cls: type, without: Sequence[str] = ()) -> str:
    kinds = typing.get_type_hints(cls)
    meanings = _attributes(cls)
    rows = []
    for field in dataclasses.fields(cls):
        if field.name in without:
            continue
        required = field.default is dataclasses.MISSING and (
            field.default_factory is dataclasses.MISSING
        )
        meaning = _cell(meanings.get(field.name, ""))
        need = "yes" if required else ""
        rows.append((f"`{field.name}`", _kind(kinds[field.name]), need, meaning))
    return _table(("key", "value", "required", "meaning"), rows)


def _attributes(cls: type) -> dict[str, str]:
    """The ``Attributes:`` section of a docstring: name -> text."""
    found: dict[str, str] = {}
    names: list[str] = []
    _, _, section = (cls.__doc__ or "").partition("Attributes:\n")
    for line in section.splitlines():
        text = line.strip()
        head, colon, rest = text.partition(": ")
        if line.startswith(" " * 8) and not line.startswith(" " * 9) and colon:
            names = [name.strip() for name in head.split(",")]
            text = rest
        for name in names:
            found[name] = f"{found.get(name, '')} {text}".strip()
    return found


def _kind(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _kind(next(a for a in arguments if a is not types.NoneType))
    if origin in (tuple, frozenset):
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return "table"
    names = {str: "text", int: "integer", float: "number", bool: "true or false"}
    return names.get(kind, "path")


def _default(value: Any) -> str:
    if value in (None, "", ()):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


def _table(header: Row, rows: Sequence[Row]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def recipe_schema_file() -> str:
    """docs/recipe.schema.json: the form of recipes, for editors and other programs."""
    return json.dumps(recipe_schema(), indent=2) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "options.md": options_page,
    "errors.md": errors_page,
    "targets.md": targets_page,
    "recipe.schema.json": recipe_schema_file,
}

if __name__ == "__main__":
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make(), encoding="utf-8")
