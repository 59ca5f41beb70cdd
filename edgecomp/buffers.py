"""Contents too large to hold: a temporary file that is written once, mapped, and read in pieces.

Pages of a mapped file count as memory of the process while it has touched them. Who is through
with a part says ``forget``: the pages go, and come back from the file if they are read again.

What is a file already is hashed once. The first who keeps it gives it a name; for whoever else keeps
it, it is copied by the system: the cache's files and every bundle's are their own.
"""

import contextlib
import hashlib
import io
import math
import mmap
import os
import pathlib
import tempfile
import threading
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, Self

from edgecomp.cache_folder import cache_folder

if TYPE_CHECKING:  # what a command line needs first imports no numpy
    import numpy.typing as npt

#: Contents: bytes, or a part of a mapped file.
Buffer = bytes | memoryview

#: A buffer smaller than this stays in memory.
KEPT_BYTES = 16 << 20
_PIECE_BYTES = 8 << 20


class MappedFile(mmap.mmap):
    """A whole file that nobody writes to any more.

    Args:
        descriptor: of the file, not empty; a copy of it is kept.
    """

    def __new__(cls, descriptor: int) -> Self:
        """Map it."""
        mapped = super().__new__(cls, descriptor, 0, access=mmap.ACCESS_READ)
        mapped._descriptor = os.dup(descriptor)
        mapped._hashing, mapped._naming = threading.Lock(), threading.Lock()
        mapped._sha256 = ""
        return mapped

    _descriptor: int
    _hashing: threading.Lock
    _naming: threading.Lock
    _sha256: str

    def __del__(self) -> None:
        os.close(self._descriptor)

    def link(self, path: pathlib.Path) -> bool:
        """Make the file known by a name that is free; False where it has one or that cannot be.

        A file of two names would change in both places where somebody edits it in one.
        """
        with self._naming:
            if os.fstat(self._descriptor).st_nlink:
                return False
            try:
                # The folder, which a whole path needs not, lets os.link follow the system's link.
                here = f"/proc/self/fd/{self._descriptor}"
                os.link(here, path, src_dir_fd=self._descriptor)
            except (OSError, NotImplementedError):
                return False
            return True

    def append_to(self, file: IO[bytes]) -> None:
        """Write the contents to a new file, without their passing through this process.

        Raises:
            OSError: the disk refuses.
        """
        done = 0
        if hasattr(os, "copy_file_range"):
            with contextlib.suppress(OSError):  # not every pair of file systems
                while done < len(self):
                    count = os.copy_file_range(
                        self._descriptor, file.fileno(), len(self) - done, done, done
                    )
                    done += count
                    if count == 0:
                        break
        file.seek(done)
        for piece in pieces(memoryview(self)[done:]):
            file.write(piece)

    def sha256(self) -> str:
        """Of the contents, in hexadecimal; found once."""
        with self._hashing:
            if not self._sha256:
                self._sha256 = _sha256(memoryview(self))
            return self._sha256


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
                self._file = _nameless_file()
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
            return memoryview(MappedFile(file.fileno()))


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
        return memoryview(MappedFile(file.fileno()))


def mapped_file(content: Buffer) -> MappedFile | None:
    """The file that is the content as a whole; None for bytes and parts."""
    if isinstance(content, memoryview) and isinstance(content.obj, MappedFile):
        return content.obj if len(content) == len(content.obj) else None
    return None


def sha256_of(content: Buffer) -> str:
    """SHA-256 in hexadecimal; of a whole mapped file it is remembered."""
    mapped = mapped_file(content)
    return _sha256(content) if mapped is None else mapped.sha256()


def _sha256(content: Buffer) -> str:
    digest = hashlib.sha256()
    for piece in pieces(content):
        digest.update(piece)
    return digest.hexdigest()


def write_pieces(path: pathlib.Path, content: Buffer) -> None:
    """Write a new file; what is a file without a name becomes that one.

    Raises:
        OSError: the disk refuses.
    """
    mapped = mapped_file(content)
    if mapped is not None and mapped.link(path):
        return
    with path.open("wb") as file:
        if mapped is not None:
            mapped.append_to(file)
            return
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


def _nameless_file() -> IO[bytes]:
    """A file that can be given a name, where the system has such."""
    folder = _folder()
    if folder is not None and hasattr(os, "O_TMPFILE"):
        with contextlib.suppress(OSError):  # not every file system
            flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
            return os.fdopen(os.open(folder, flags, 0o666), "w+b")
    return tempfile.TemporaryFile(dir=folder)


def _folder() -> pathlib.Path | None:
    """Beside the cache: where the system keeps temporary files is often memory itself."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None
