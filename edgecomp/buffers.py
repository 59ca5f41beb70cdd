"""Contents too large to hold: a temporary file that is written once, mapped, and read in pieces.

Pages of a mapped file count as memory of the process while it has touched them. Who is through
with a part says ``forget``: the pages go, and come back from the file if they are read again.
"""

import io
import math
import mmap
import pathlib
import tempfile
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from edgecomp.cache_folder import cache_folder

if TYPE_CHECKING:  # what a command line needs first imports no numpy
    import numpy.typing as npt

#: Contents: bytes, or a part of a mapped file.
Buffer = bytes | memoryview

#: A buffer smaller than this stays in memory.
KEPT_BYTES = 16 << 20
_PIECE_BYTES = 8 << 20


class Spool:
    """Contents in the making: in memory while they are small, then in a temporary file.

    The file has no name: it goes when nothing is mapped of it, however the process ends.

    Args:
        kept_bytes: most that is held in memory; -1 for nothing.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._content = bytearray()
        self._file: IO[bytes] | None = None
        self._bytes = 0
        self._kept_bytes = kept_bytes

    def __len__(self) -> int:
        return self._bytes

    def write(self, content: Any) -> int:
        """Append a buffer; pages of a mapped one are forgotten. Returns its length."""
        before = self._bytes
        for piece in pieces(content):
            self._bytes += len(piece)
            if self._file is None and self._bytes <= self._kept_bytes:
                self._content += piece
                continue
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=_folder())  # noqa: SIM115
                self._file.write(self._content)
                self._content.clear()
            self._file.write(piece)
        return self._bytes - before

    def array(
        self, offset_bytes: int, dtype: "npt.DTypeLike", shape: tuple[int, ...]
    ) -> "npt.NDArray[Any] | None":
        """An array that was written, mapped; None where it is in memory."""
        import numpy as np

        if self._file is None:
            return None
        self._file.flush()
        count = math.prod(shape)
        before = offset_bytes % mmap.ALLOCATIONGRANULARITY
        length = before + count * np.dtype(dtype).itemsize
        mapped = mmap.mmap(
            self._file.fileno(),
            length,
            access=mmap.ACCESS_READ,
            offset=offset_bytes - before,
        )
        return np.frombuffer(mapped, dtype, count, before).reshape(shape)

    def finish(self) -> Buffer:
        """The contents; nothing can be appended any more."""
        if self._file is None:
            return bytes(self._content)
        with self._file as file:
            file.flush()
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return memoryview(mapped)


class BufferReader(io.RawIOBase):
    """A buffer as a file that is read; nothing is copied but what is asked for."""

    def __init__(self, content: Buffer) -> None:
        super().__init__()
        self._view = memoryview(content)
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; returns where."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._view)}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, into: Any) -> int:
        """Copy the next bytes; returns how many."""
        part = self._view[self._at : self._at + len(into)]
        into[: len(part)] = part
        self._at += len(part)
        return len(part)


def pieces(content: Any) -> Iterator[memoryview]:
    """The bytes of a buffer in order; pages of a mapped file are forgotten behind the reader."""
    whole = memoryview(content).cast("B")
    for start in range(0, len(whole), _PIECE_BYTES):
        piece = whole[start : start + _PIECE_BYTES]
        yield piece
        forget(piece)


def read_or_map(path: pathlib.Path) -> Buffer:
    """A file's contents: in memory where they are small, else mapped.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if path.stat().st_size <= KEPT_BYTES:
            return file.read()
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def write_pieces(path: pathlib.Path, content: Buffer) -> None:
    """Write a file.

    Raises:
        OSError: the disk refuses.
    """
    with path.open("wb") as file:
        for piece in pieces(content):
            file.write(piece)


def spooled(array: "npt.NDArray[Any]") -> "npt.NDArray[Any]":
    """The same array, row-major, in a temporary file that is mapped."""
    import numpy as np

    spool = Spool(kept_bytes=-1)
    spool.write(bytes_of(array))
    content = spool.finish()
    moved = np.frombuffer(content, array.dtype).reshape(array.shape)
    forget(moved)
    return moved


def bytes_of(array: "npt.NDArray[Any]") -> memoryview:
    """The contents of an array, row-major; copied only where it lies otherwise."""
    import numpy as np

    flat: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return memoryview(flat)


def forget(part: Any) -> None:
    """Give back the memory of an array or buffer that lies in a mapped file, else do nothing.

    Pages that are only partly inside are kept.
    """
    mapped = _mapping_under(part)
    if mapped is None or not hasattr(mapped, "madvise"):
        return
    import numpy as np

    array = part if isinstance(part, np.ndarray) else np.frombuffer(part, np.uint8)
    low, high = np.lib.array_utils.byte_bounds(array)
    base = np.frombuffer(mapped, np.uint8).ctypes.data
    page = mmap.PAGESIZE
    start = -(-(low - base) // page) * page
    end = len(mapped) if high - base == len(mapped) else (high - base) // page * page
    if end > start:
        mapped.madvise(mmap.MADV_DONTNEED, start, end - start)


def _mapping_under(part: Any) -> mmap.mmap | None:
    """The read-only mapped file that something is a view of."""
    while not isinstance(part, mmap.mmap):
        if isinstance(part, memoryview):
            part = part.obj
        elif hasattr(part, "__array_interface__"):
            part = part.base
        else:
            return None
    return part if memoryview(part).readonly else None


def _folder() -> pathlib.Path | None:
    """Beside the cache: where the system keeps temporary files is often memory itself."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None
