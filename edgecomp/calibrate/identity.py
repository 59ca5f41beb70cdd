"""What a calibration sample is known by, so that work done on it is found again."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from edgecomp.calibrate.statistics import digest_of
from edgecomp.graph.constants import AnyArray

Sample = Mapping[str, AnyArray]
_BYTES = 16


def chained(before: bytes, digest: bytes) -> bytes:
    """Digest of a sequence of samples and one more."""
    return hashlib.blake2b(before + digest, digest_size=_BYTES).digest()


def digests_of(samples: Iterable[Sample]) -> Iterator[bytes]:
    """One per sample, in order: of what it is made from where that is cheaper to read."""
    cheap = getattr(samples, "source_digests", None)
    known: Iterator[bytes] | None = cheap() if cheap is not None else None
    return known if known is not None else map(digest_of, samples)


def with_digests(samples: Iterable[Sample]) -> Iterator[tuple[Sample, bytes]]:
    """Samples, each with the digest that ``digests_of`` gives."""
    cheap = getattr(samples, "source_digests", None)
    known: Iterator[bytes] | None = cheap() if cheap is not None else None
    if known is None:
        for sample in samples:
            yield sample, digest_of(sample)
    else:
        yield from zip(samples, known, strict=False)


def can_be_read_again(samples: Any) -> bool:
    """Whether iterating a second time gives samples, as far as can be told without trying."""
    known = getattr(samples, "rereadable", None)
    return not isinstance(samples, Iterator) if known is None else bool(known)
