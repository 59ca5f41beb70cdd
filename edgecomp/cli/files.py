"""Files that verbs write."""

import re
from collections.abc import Iterable


def safe_names(names: Iterable[str]) -> list[str]:
    """File names for tensor names, which may hold slashes; distinct ones stay distinct."""
    safe: list[str] = []
    for name in names:
        stem = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "output"
        while stem in safe:
            stem += "_"
        safe.append(stem)
    return safe
