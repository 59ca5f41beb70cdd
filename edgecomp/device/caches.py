"""Cache sizes and cores from Linux's sysfs."""

import dataclasses
import os
import pathlib
import re

_UNITS = {"": 1, "K": 1024, "M": 1024 * 1024}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Caches:
    """What one core has to itself, and how many cores this process may use.

    Attributes:
        cores: physical cores; two hyper-threads are one core.
        l1_data_bytes, l2_bytes: of one core; of a shared cache its part. None is unknown.
        l3_shared_bytes: whole cache, None is unknown.
    """

    cores: int
    l1_data_bytes: int | None
    l2_bytes: int | None
    l3_shared_bytes: int | None


def read_caches(system: pathlib.Path) -> Caches:
    """Read ``/sys/devices/system/cpu`` or a folder like it.

    Where cores differ the smallest cache counts, since a thread may run on any of them.
    """
    processors = sorted(
        int(p.name[3:]) for p in system.glob("cpu*") if re.fullmatch(r"cpu\d+", p.name)
    )
    siblings = {p: _siblings(system, p) for p in processors}
    levels: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for processor in processors:
        for index in sorted((system / f"cpu{processor}" / "cache").glob("index*")):
            _add_level(levels, index, siblings)
    return Caches(
        cores=_usable_cores(siblings),
        l1_data_bytes=_smallest_part(levels.get((1, "Data"))),
        l2_bytes=_smallest_part(levels.get((2, "Unified"))),
        l3_shared_bytes=min(
            (size for size, _ in levels.get((3, "Unified"), ())), default=None
        ),
    )


def _add_level(
    levels: dict[tuple[int, str], list[tuple[int, int]]],
    index: pathlib.Path,
    siblings: dict[int, frozenset[int]],
) -> None:
    """Add (bytes, cores that share it) of one cache; a file that is not there is no cache."""
    level, kind, size = (_text(index / name) for name in ("level", "type", "size"))
    match = re.fullmatch(r"(\d+)([KM]?)", size)
    if not match or not level.isdigit():
        return
    sharing = _processors(_text(index / "shared_cpu_list"))
    cores = {siblings[p] for p in sharing if p in siblings}
    entry = int(match[1]) * _UNITS[match[2]], max(1, len(cores))
    levels.setdefault((int(level), kind), []).append(entry)


def _siblings(system: pathlib.Path, processor: int) -> frozenset[int]:
    topology = system / f"cpu{processor}" / "topology"
    text = _text(topology / "core_cpus_list") or _text(topology / "thread_siblings_list")
    return _processors(text) or frozenset({processor})


def _usable_cores(siblings: dict[int, frozenset[int]]) -> int:
    if hasattr(os, "sched_getaffinity"):
        usable = os.sched_getaffinity(0)
    else:
        usable = set(range(os.cpu_count() or 1))
    cores = {siblings[p] for p in usable if p in siblings}
    return len(cores) or len(usable)


def _smallest_part(entries: list[tuple[int, int]] | None) -> int | None:
    return min((size // cores for size, cores in entries), default=None) if entries else None


def _processors(text: str) -> frozenset[int]:
    """``0-3,8`` to its numbers."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def _text(path: pathlib.Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
