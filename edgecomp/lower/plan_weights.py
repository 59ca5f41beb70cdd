"""The contents of a weights file in the making, which several plans of one model may share.

A schedule packs the weights of its operation into an order of its own. All of them together are
as large as the model, which is in memory too while it is lowered; so they are written as soon as
they are made, and large ones leave memory.
"""

import dataclasses
import hashlib

import numpy as np

from edgecomp.buffers import Buffer, Spool, bytes_of, forget, pieces
from edgecomp.plan.values import SLACK_BYTES, Array
from edgecomp.schedules.schedule import Constant, KernelCall

ALIGNMENT_BYTES = 64

#: Constants smaller than this stay where they are.
_LEAST_BYTES = 1 << 20


class PlanWeights:
    """Each distinct array once, in the order of first use."""

    def __init__(self) -> None:
        self._contents = Spool()
        self._offsets: dict[bytes, int] = {}
        # By the identity of arrays, which are kept here so that no other one can have it.
        self._written: dict[int, tuple[Array, int]] = {}

    def add(self, array: Array) -> int:
        """Offset of the array in the file."""
        if id(array) in self._written:
            return self._written[id(array)][1]
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

    def take(self, calls: list[KernelCall]) -> list[KernelCall]:
        """Add the constants of calls.

        Returns:
            The same calls with large constants as they lie in the file. Calls of one operation
            may share a constant, and still do.
        """
        taken: dict[Constant, Constant] = {}
        for argument in (argument for call in calls for argument in call.arguments):
            if isinstance(argument, Constant) and argument not in taken:
                taken[argument] = self._taken(argument)
        return [
            dataclasses.replace(
                call,
                arguments=tuple(
                    taken[argument] if isinstance(argument, Constant) else argument
                    for argument in call.arguments
                ),
            )
            for call in calls
        ]

    def _taken(self, constant: Constant) -> Constant:
        offset = self.add(constant.array)
        if constant.array.nbytes < _LEAST_BYTES:
            return constant
        array = self._contents.array(offset, constant.array.dtype, constant.array.shape)
        if array is None:
            return constant
        forget(array)
        self._written[id(array)] = array, offset
        return dataclasses.replace(constant, array=array)

    def finish(self) -> Buffer:
        """The contents; nothing can be added any more."""
        return self._contents.finish()


class NoWeights(PlanWeights):
    """For a plan of which only the memory is asked: nothing is kept of what is packed."""

    def add(self, array: Array) -> int:  # noqa: ARG002 - as of those that keep it
        """Nowhere."""
        return 0

    def take(self, calls: list[KernelCall]) -> list[KernelCall]:
        """The calls with constants of the same form that take no memory."""
        return [
            dataclasses.replace(
                call,
                arguments=tuple(
                    _without_contents(argument) if isinstance(argument, Constant) else argument
                    for argument in call.arguments
                ),
            )
            for call in calls
        ]


def _without_contents(constant: Constant) -> Constant:
    array = np.broadcast_to(np.zeros((), constant.array.dtype), constant.array.shape)
    return dataclasses.replace(constant, array=array)
