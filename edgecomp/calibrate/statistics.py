"""What is known of a calibration set's numbers, in memory that does not grow with the samples."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecomp.graph.constants import AnyArray

#: Digests of samples that later ones are compared with. More would find more, and grow.
MOST_DIGESTS = 1024
_DIGEST_BYTES = 16


def digest_of(sample: Mapping[str, AnyArray]) -> bytes:
    """Of the names, dtypes, shapes and contents of a sample's arrays."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for name in sorted(sample):
        array = np.ascontiguousarray(sample[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\0".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.digest()


class InputStatistics:
    """Sums, ends and how much lies at them, of all numbers given for one input.

    Attributes:
        samples: how many were added.
        constant: how many of them were one number throughout.
        count: of numbers.
        low, high: least and greatest number; infinite before any.
        at_low, at_high: how many numbers are exactly that.
        integers: whether the numbers are of a signed integer type, or true and false.
    """

    _FIELDS = (
        "samples", "constant", "count", "low", "high", "at_low", "at_high", "integers", "_sum",
        "_squares",
    )  # fmt: skip

    def __init__(self) -> None:
        self.samples = self.constant = self.count = self.at_low = self.at_high = 0
        self.low, self.high = np.inf, -np.inf
        self.integers = False
        self._sum = self._squares = 0.0

    @property
    def mean(self) -> float:
        """Of all numbers."""
        return self._sum / max(1, self.count)

    @property
    def deviation(self) -> float:
        """Standard deviation of all numbers."""
        variance = self._squares / max(1, self.count) - self.mean**2
        return float(np.sqrt(max(0.0, variance)))

    def add(self, array: AnyArray) -> None:
        """Count the numbers of one sample."""
        flat = array.reshape(-1)
        if flat.size == 0:
            return
        least, greatest = flat.min(), flat.max()
        low, high = float(least), float(greatest)
        self.integers = flat.dtype.kind in "ib"
        self.samples += 1
        self.constant += low == high
        if low < self.low:
            self.low, self.at_low = low, 0
        if high > self.high:
            self.high, self.at_high = high, 0
        if low == self.low:
            self.at_low += int(np.count_nonzero(flat == least))
        if high == self.high:
            self.at_high += int(np.count_nonzero(flat == greatest))
        self.count += flat.size
        self._sum += float(flat.sum(dtype=np.float64))
        self._squares += float(np.einsum("i,i->", flat, flat, dtype=np.float64))

    def pack(self) -> npt.NDArray[np.float64]:
        """All there is, as numbers."""
        return np.array([float(getattr(self, name)) for name in self._FIELDS])

    @classmethod
    def unpack(cls, numbers: Sequence[float] | AnyArray) -> "InputStatistics":
        """What ``pack`` made."""
        made = cls()
        for name, number in zip(cls._FIELDS, numbers, strict=True):
            kind: Any = type(getattr(made, name))
            setattr(made, name, kind(number))
        return made


class Repeats:
    """How many samples are the same as an earlier one, of the first ``MOST_DIGESTS``.

    Attributes:
        repeated: how many.
    """

    def __init__(self) -> None:
        self.repeated = 0
        self._seen: set[bytes] = set()

    def add(self, digest: bytes) -> None:
        """Note a sample by its digest."""
        if digest in self._seen:
            self.repeated += 1
        elif len(self._seen) < MOST_DIGESTS:
            self._seen.add(digest)

    def pack(self) -> tuple[int, AnyArray]:
        """All there is, as numbers."""
        joined = b"".join(sorted(self._seen))
        return self.repeated, np.frombuffer(joined, np.uint8)

    @classmethod
    def unpack(cls, repeated: int, digests: AnyArray) -> "Repeats":
        """What ``pack`` made."""
        made = cls()
        made.repeated = repeated
        joined = digests.tobytes()
        starts = range(0, len(joined), _DIGEST_BYTES)
        made._seen = {joined[at : at + _DIGEST_BYTES] for at in starts}
        return made
