"""Measured times of kernels on one device: a text file, one measurement a line.

``edgecomp tune`` writes it, a build picks the fastest kernel of a layer from it. The file is
JSON: a header that says what was measured where, and ``entries``, sorted, each on a line of its
own, so that two versions of a table compare well:

    {"layer": "convolution ...", "schedule": "convolution_nhwc", "params": "axis=0 rows=12 ...",
     "ns": 81234, "spread": 0.012, "runs": 25, "constant_bytes": 16640, "in_model_ns": 0}
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from edgecomp.cache import write_whole
from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.plan.operations import Operation
from edgecomp.records import RecordError, read_record
from edgecomp.schedules.signature import signature
from edgecomp.writable import writable

FORMAT = "edgecomp-cost-table"
#: Raise when an older edgecomp would misread the file.
SCHEMA = 1
#: What a byte of constants more has to save in each inference, in nanoseconds: the price of a
#: larger bundle, as ``winograd_cost.BYTE_PRICE_CYCLES`` has it in cycles of a 2.6 GHz core.
BYTE_PRICE_NS = 0.15


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """One kernel of one layer, measured.

    Attributes:
        layer: ``signature`` of the operation.
        schedule: ``NAME`` of the schedule that emits the kernel.
        params: text of its parameters.
        ns: time of one call in nanoseconds, the caches as in a model: the lower quartile of its
            runs, since what else a machine does only adds time.
        spread: distance between the quartiles divided by the median.
        runs: calls measured.
        constant_bytes: of the constants it reads.
        in_model_ns: the same in a whole model, 0 where it was not measured there.
    """

    layer: str
    schedule: str
    params: str
    ns: int
    spread: float
    runs: int
    constant_bytes: int
    in_model_ns: int = 0

    def __post_init__(self) -> None:
        if self.ns <= 0 or self.runs <= 0:
            raise ValueError("ns and runs have to be positive")
        if min(self.constant_bytes, self.in_model_ns, self.spread) < 0:
            raise ValueError("a number is negative")

    @property
    def time_ns(self) -> int:
        """Of one call in a model: measured there, else with the caches as they are there."""
        return self.in_model_ns or self.ns

    @property
    def price(self) -> tuple[bool, float]:
        """What kernels of one layer are compared by; those measured in a model come first."""
        return not self.in_model_ns, self.time_ns + BYTE_PRICE_NS * self.constant_bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """What was measured where.

    Attributes:
        target: name of the target.
        core: facts about the core that code generation reads; another core, another table.
        device: the machine, in words.
        threads: that ran each kernel.
        date: of the last measurement, YYYY-MM-DD.
        versions: package -> version that made the kernels.
    """

    target: str
    core: dict[str, Any]
    device: str
    threads: int
    date: str
    versions: dict[str, str]


class CostTable:
    """Measurements on one device, by layer.

    Args:
        header: what was measured where.
        entries: in any order; of two for one kernel the later one counts.
    """

    def __init__(self, header: Header, entries: Iterable[Measured] = ()) -> None:
        self.header = header
        self._layers: dict[str, dict[tuple[str, str], Measured]] = {}
        for entry in entries:
            self.add(entry)

    def add(self, entry: Measured) -> None:
        """Add a measurement; an earlier one of the same kernel is forgotten."""
        self._layers.setdefault(entry.layer, {})[entry.schedule, entry.params] = entry

    def __len__(self) -> int:
        return sum(len(kernels) for kernels in self._layers.values())

    @property
    def layers(self) -> list[str]:
        """Signatures of the layers it knows, sorted."""
        return sorted(self._layers)

    def entries(self, layer: str) -> list[Measured]:
        """All measurements of one layer, sorted."""
        kernels = self._layers.get(layer, {})
        return [kernels[key] for key in sorted(kernels)]

    def ranked(self, operation: Operation, without: Collection[str] = ()) -> list[Measured]:
        """Measured kernels of an operation, the one to take first.

        That is the fastest, where constants that are larger than another kernel's also have to
        save ``BYTE_PRICE_NS`` for each byte. Times in a whole model count before others.

        Args:
            operation: in its layout.
            without: names of schedules that may not be used.
        """
        layer = signature(operation)
        allowed = [e for e in self.entries(layer) if e.schedule not in without]
        # Stable: of equal prices the first by name.
        return sorted(allowed, key=lambda entry: entry.price)

    def fastest(
        self, operation: Operation, target: Target, without: Collection[str] = ()
    ) -> Measured | None:
        """The measured kernel that a build for ``target`` takes, None where none is known."""
        if why_other_target(self.header, target):
            return None
        return next(iter(self.ranked(operation, without)), None)

    def fastest_of(
        self, operation: Operation, target: Target, schedules: Collection[str]
    ) -> Measured | None:
        """The fastest of some schedules alone."""
        if why_other_target(self.header, target):
            return None
        ranked = self.ranked(operation)
        return next((entry for entry in ranked if entry.schedule in schedules), None)

    def joined(self, later: "CostTable") -> "CostTable":
        """Both tables' measurements; a layer that ``later`` knows is taken from there alone."""
        header = dataclasses.replace(
            later.header, date=max(self.header.date, later.header.date)
        )
        joined = CostTable(header)
        for table in (self, later):
            for layer in table.layers:
                if table is later or layer not in later._layers:
                    for entry in table.entries(layer):
                        joined.add(entry)
        return joined

    def text(self) -> str:
        """The file: equal tables give equal text."""
        header = {"format": FORMAT, "schema": SCHEMA, **dataclasses.asdict(self.header)}
        lines = [f" {json.dumps(k)}: {_compact(v)}" for k, v in sorted(header.items())]
        rows = [
            f"  {_compact(dataclasses.asdict(entry))}"
            for layer in self.layers
            for entry in self.entries(layer)
        ]
        body = "[\n" + ",\n".join(rows) + "\n ]" if rows else "[]"
        return "{\n" + ",\n".join([*lines, f' "entries": {body}']) + "\n}\n"

    @property
    def digest(self) -> str:
        """Hash of the contents."""
        return hashlib.sha256(self.text().encode()).hexdigest()


def core_facts(target: Target) -> dict[str, Any]:
    """What a table remembers of a target's core."""
    facts = dataclasses.asdict(target.core)
    facts["features"] = sorted(target.core.features)
    return facts


def why_other_target(header: Header, target: Target) -> str:
    """Return "" when a table was measured for this target, else what differs."""
    if header.target != target.name:
        return f"it was measured for target '{header.target}', not '{target.name}'"
    facts = core_facts(target)
    for key in sorted({*facts, *header.core}):
        if header.core.get(key) != facts.get(key):
            return (
                f"it was measured with {key} = {header.core.get(key)!r}, "
                f"the target has {facts.get(key)!r}"
            )
    return ""


def read_table(path: pathlib.Path) -> CostTable:
    """Read a table.

    Raises:
        EdgecompError: FILE_MISSING, COST_TABLE_INVALID with what is wrong.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EdgecompError(
            Code.FILE_MISSING, "there is no such cost table", path=str(path)
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise _invalid(path, f"it cannot be read as JSON: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _invalid(path, f'it does not say "format": "{FORMAT}"')
    if content.get("schema") != SCHEMA:
        raise _invalid(
            path,
            f"it has schema {content.get('schema')!r}, this edgecomp reads {SCHEMA}",
            "tune again with this version, or use the version that made it",
        )
    try:
        return _from_dict(content)
    except RecordError as error:
        raise _invalid(path, str(error), error.hint) from None


def read_table_for(path: pathlib.Path, target: Target) -> CostTable:
    """Read a table that has to be this target's.

    Raises:
        EdgecompError: as ``read_table``; COST_TABLE_INVALID for another target's table.
    """
    table = read_table(path)
    reason = why_other_target(table.header, target)
    if reason:
        raise _invalid(path, reason, "run 'edgecomp tune' for this target")
    return table


def write_table(path: pathlib.Path, table: CostTable) -> None:
    """Write a table whole or not at all.

    Raises:
        EdgecompError: OUTPUT_UNWRITABLE.
    """
    with writable(path):
        write_whole(path, table.text().encode())


def _from_dict(content: Mapping[str, Any]) -> CostTable:
    header = {k: v for k, v in content.items() if k not in ("format", "schema", "entries")}
    rows = content.get("entries")
    if not isinstance(rows, list):
        raise RecordError("entries", "expected a list")
    entries = []
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise RecordError(f"entries[{index}]", "expected a table")
        entries.append(read_record(Measured, row, prefix=f"entries[{index}]"))
    return CostTable(read_record(Header, header), entries)


def _invalid(path: pathlib.Path, why: str, hint: str = "") -> EdgecompError:
    return EdgecompError(
        Code.COST_TABLE_INVALID,
        f"the cost table is not used: {why}",
        path=str(path),
        hint=hint,
    )


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
