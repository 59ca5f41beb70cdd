"""What the user says about a dimension that the data decides: ``boxes_0:[0..100]``."""

import re
from collections.abc import Iterable, Mapping

from edgecomp.errors import Code, EdgecompError, nearest_hint
from edgecomp.graph.counts import Counted

_FORM = re.compile(r"(.+):\[(\d+)\.\.(\d+)\]")
#: Kernels count in 32-bit integers.
_MOST = 2**31 - 1


def parse_bound_specs(texts: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Least and greatest size of dimensions by name.

    Raises:
        EdgecompError: USAGE with the form to give.
    """
    found: dict[str, tuple[int, int]] = {}
    for text in texts:
        match = _FORM.fullmatch(text)
        if match is None:
            raise _bad(text, "it is no dimension with bounds")
        low, high = int(match[2]), int(match[3])
        if not (low <= high <= _MOST and high):
            raise _bad(text, "the bounds hold no size of 1 or more")
        if match[1] in found:
            raise _bad(text, "the dimension is given twice")
        found[match[1]] = (low, high)
    return found


def require_used(bounds: Mapping[str, tuple[int, int]], dimensions: Iterable[Counted]) -> None:
    """Refuse bounds of dimensions that the model does not have.

    Raises:
        EdgecompError: USAGE.
    """
    known = [dimension.name for dimension in dimensions]
    for name in bounds:
        if name not in known:
            raise EdgecompError(
                Code.USAGE,
                f"--bound {name}: the model has no dimension of this name that the data decides",
                hint=nearest_hint(name, known) if known else "leave the option out",
            )


def _bad(text: str, why: str) -> EdgecompError:
    return EdgecompError(
        Code.USAGE, f"--bound {text}: {why}", hint="the form is name:[0..100]"
    )
