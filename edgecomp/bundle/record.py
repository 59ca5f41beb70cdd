"""Keep what a build worked out, so that the same build again only has to write it.

A record holds everything that ``write_bundle`` takes. Its key (record_key.py) is made of all that
decides it; without one nothing is kept.
"""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from edgecomp.buffers import Buffer, BufferReader, MappedFile, mapped_file, pieces
from edgecomp.bundle.packed_plan import (
    packed_plan,
    packed_shaders,
    unpacked_plan,
    unpacked_shaders,
)
from edgecomp.cache import (
    HashedStream,
    keep_beside,
    keep_written,
    kept_beside,
    kept_buffer,
    trim,
)
from edgecomp.cache_folder import cache_folder
from edgecomp.plan.plan import Plan
from edgecomp.plan.values import Array

#: Records together take at most this much; the ones that were not used for longest go first.
MOST_BYTES = 2 << 30
#: A record larger than this is not kept.
MOST_RECORD_BYTES = 512 << 20
#: What a record holds in one piece: weights, the portable model and the data beside it.
_BUFFERS = ("weights", "model", "data")
#: Of the header in front of a file of a zip archive: its length without the two fields of free
#: length at its end, and where their lengths stand.
_HEADER_BYTES, _LENGTHS_AT = 30, 26


@dataclasses.dataclass(frozen=True)
class Record:
    """What ``write_bundle`` takes.

    Attributes:
        plan: kernels and weights included.
        model_bytes: the portable model.
        model_data: weights beside it, see ``write_bundle``.
        golden: pairs of inputs and expected outputs.
        facts: JSON, as for ``write_bundle``.
    """

    plan: Plan
    model_bytes: Buffer
    model_data: Buffer
    golden: list[tuple[dict[str, Array], dict[str, Array]]]
    facts: dict[str, Any]


def keep_record(key: str, record: Record, cache: pathlib.Path | None) -> None:
    """Store a record, and drop old ones where all together take too much."""
    if not key:
        return
    if sum(map(len, _buffers(record))) <= MOST_RECORD_BYTES:
        folder = _folder(cache)
        for name, mapped in _mapped(record).items():
            keep_beside(folder / f"{key}.{name}", mapped)
        keep_written(folder / key, lambda stream: _pack(record, stream))
        trim(folder, MOST_BYTES)


@contextlib.contextmanager
def keeping(key: str, record: Record, cache: pathlib.Path | None) -> Iterator[None]:
    """Store a record while the block runs: most of the time the disk is waited for in both."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        stored = pool.submit(keep_record, key, record, cache)
        yield
        stored.result()


def find_record(key: str, cache: pathlib.Path | None) -> Record | None:
    """The record of a key, None where there is none or the disk has damaged it."""
    path = _folder(cache) / key
    content = kept_buffer(path) if key else None
    if content is None:
        return None
    with contextlib.suppress(OSError):  # a cache that may only be read
        os.utime(path)
    return _unpack(content, path)


def _folder(cache: pathlib.Path | None) -> pathlib.Path:
    return (cache or cache_folder()) / "builds"


def _pack(record: Record, stream: HashedStream) -> None:
    """A zip of plain files, nothing compressed."""
    plan = record.plan
    header: dict[str, Any] = {
        "plans": [packed_plan(each) for each in plan.plans],
        "shaders": plan.shaders and packed_shaders(plan.shaders),
        "beside": {name: mapped.sha256() for name, mapped in _mapped(record).items()},
        "objects": list(plan.objects),
        "golden": [[list(given), list(expected)] for given, expected in record.golden],
        "facts": record.facts,
    }
    file_like: Any = stream  # it has what zipfile uses of a file
    with zipfile.ZipFile(file_like, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("header.json", json.dumps(header))
        for name, buffer in zip(_BUFFERS, _buffers(record), strict=True):
            if name in header["beside"]:
                continue
            with archive.open(name, "w") as file:
                for piece in pieces(buffer):
                    file.write(piece)
        for name, content in plan.objects.items():
            archive.writestr(f"objects/{name}", content)
        for number, array in enumerate(_arrays(record.golden)):
            with archive.open(f"golden/{number}", "w") as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)


def _mapped(record: Record) -> dict[str, MappedFile]:
    """What is a file already, and lies beside the record, by its name in ``_BUFFERS``."""
    found = zip(_BUFFERS, map(mapped_file, _buffers(record)), strict=True)
    return {name: mapped for name, mapped in found if mapped is not None}


def _buffers(record: Record) -> tuple[Buffer, Buffer, Buffer]:
    return record.plan.weights, record.model_bytes, record.model_data


def _arrays(
    golden: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]],
) -> Iterator[Array]:
    for pair in golden:
        for arrays in pair:
            yield from arrays.values()


def _unpack(content: Buffer, path: pathlib.Path) -> Record | None:
    """None where what lies beside the record's file is not what it was."""
    with zipfile.ZipFile(BufferReader(content)) as archive:
        header = json.loads(archive.read("header.json"))
        buffers = []
        for name in _BUFFERS:
            digest = header["beside"].get(name)
            if digest is None:
                buffers.append(_stored(archive, name, content))
                continue
            beside = kept_beside(path.with_name(f"{path.name}.{name}"), digest)
            if beside is None:
                return None
            buffers.append(beside)
        weights, proto, data = buffers
        own, *others = map(unpacked_plan, header["plans"])
        objects = {name: archive.read(f"objects/{name}") for name in header["objects"]}
        plan = dataclasses.replace(
            own,
            weights=weights,
            objects=objects,
            cpu_plan=others[0] if others else None,
            shaders=header["shaders"] and unpacked_shaders(header["shaders"]),
        )
        numbers = itertools.count()

        def read(names: Sequence[str]) -> dict[str, Array]:
            return {name: _read_array(archive, next(numbers)) for name in names}

        golden = [(read(given), read(expected)) for given, expected in header["golden"]]
        return Record(plan, proto, data, golden, header["facts"])


def _stored(archive: zipfile.ZipFile, name: str, content: Buffer) -> Buffer:
    """What lies in the archive under a name, where it lies."""
    info = archive.getinfo(name)
    with archive.open(info):  # checks the header in front of it
        pass
    lengths = struct.unpack_from("<HH", content, info.header_offset + _LENGTHS_AT)
    start = info.header_offset + _HEADER_BYTES + sum(lengths)
    return memoryview(content)[start : start + info.file_size]


def _read_array(archive: zipfile.ZipFile, number: int) -> Array:
    with archive.open(f"golden/{number}") as file:
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
        return array
