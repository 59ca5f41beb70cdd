"""Python packages against the versions that edgecomp's own metadata asks for."""

import importlib.metadata
import pathlib
import tomllib

from packaging.requirements import Requirement

import edgecomp
from edgecomp.doctor.finding import Finding, State

#: Extra -> what it is for. The others are for developers.
_EXTRAS = {
    "torch": "models from torch",
    "zig": "a C cross compiler from pip",
    "examples": "the examples",
}
_CORE = "edgecomp"


def look() -> list[Finding]:
    """Required packages first, then those of the extras."""
    findings: list[Finding] = []
    seen: set[str] = set()
    for extra, requirement in _requirements():
        if requirement.name not in (*seen, _CORE):
            seen.add(requirement.name)
            findings.append(_find(requirement, extra))
    return findings


def _find(requirement: Requirement, extra: str) -> Finding:
    purpose = _EXTRAS[extra] if extra else _CORE
    install = f"pip install 'edgecomp[{extra}]'" if extra else f"pip install '{requirement}'"
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(
            name=requirement.name,
            state=State.MISSING,
            found=f"needs {requirement.specifier}" if requirement.specifier else "",
            purpose=purpose,
            hint=install,
            fatal=not extra,
        )
    good = requirement.specifier.contains(version, prereleases=True)
    return Finding(
        name=requirement.name,
        state=State.OK if good else State.WRONG,
        found=version if good else f"{version}, needs {requirement.specifier}",
        purpose=purpose,
        hint="" if good else f"pip install '{requirement}'",
        fatal=not extra,
    )


def _requirements() -> list[tuple[str, Requirement]]:
    """(extra or "", requirement), markers that do not hold left out."""
    found = []
    for extra, text in _declared():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            found.append((extra, requirement))
    return found


def _declared() -> list[tuple[str, str]]:
    """The project file in a repository, else the metadata of the installed distribution.

    The project file goes first: metadata of an editable install is as old as the install.
    """
    project = pathlib.Path(edgecomp.__file__).parent.parent / "pyproject.toml"
    if project.is_file():
        table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        optional = table["optional-dependencies"]
        extras = [(extra, text) for extra in _EXTRAS for text in optional[extra]]
        return [*(("", text) for text in table["dependencies"]), *extras]
    try:
        texts = importlib.metadata.requires(_CORE) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    plain = [("", text) for text in texts if "extra ==" not in text]
    return plain + [
        (extra, text)
        for extra in _EXTRAS
        for text in texts
        if f'extra == "{extra}"' in text.replace("'", '"')
    ]
