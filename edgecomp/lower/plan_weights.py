"""The contents of a weights file in the making, which several plans of one model may share."""

import hashlib

from edgecomp.buffers import Buffer, Spool, bytes_of, pieces
from edgecomp.plan.values import SLACK_BYTES, Array

ALIGNMENT_BYTES = 64


class PlanWeights:
    """Each distinct array once, in the order of first use."""

    def __init__(self) -> None:
        self._contents = Spool()
        self._offsets: dict[bytes, int] = {}

    def add(self, array: Array) -> int:
        """Offset of the array in the file."""
        data = bytes_of(array)
        hashed = hashlib.sha256()
        for piece in pieces(data):
            hashed.update(piece)
        digest = hashed.digest()
        if digest not in self._offsets:
            self._offsets[digest] = len(self._contents)
            self._contents.write(data)
            self._contents.write(bytes(-len(data) % ALIGNMENT_BYTES + SLACK_BYTES))
        return self._offsets[digest]

    def finish(self) -> Buffer:
        """The contents; nothing can be added any more."""
        return self._contents.finish()
