"""Packed weights leave memory as soon as they are made.

A schedule packs the weights of its operation into an order of its own. All of them together are
as large as the model, which is in memory too while it is lowered; so large ones are moved to
temporary files, from which ``assemble`` reads them once more.
"""

import dataclasses

from edgecomp.buffers import spooled
from edgecomp.schedules.schedule import Constant, KernelCall

#: Constants smaller than this stay where they are.
_LEAST_BYTES = 1 << 20
#: What may stay in memory before any is moved.
_FREE_BYTES = 16 << 20


class ConstantSpool:
    """Moves constants of calls, once there are more than a few."""

    def __init__(self) -> None:
        self._seen_bytes = 0

    def move(self, calls: list[KernelCall]) -> list[KernelCall]:
        """The same calls with large constants in temporary files.

        Calls of one operation may share a constant, and still do.
        """
        moved: dict[Constant, Constant] = {}
        for argument in (argument for call in calls for argument in call.arguments):
            if isinstance(argument, Constant) and argument not in moved:
                moved[argument] = self._moved(argument)
        return [
            dataclasses.replace(
                call,
                arguments=tuple(
                    moved[argument] if isinstance(argument, Constant) else argument
                    for argument in call.arguments
                ),
            )
            for call in calls
        ]

    def _moved(self, constant: Constant) -> Constant:
        if constant.array.nbytes < _LEAST_BYTES:
            return constant
        self._seen_bytes += constant.array.nbytes
        if self._seen_bytes <= _FREE_BYTES:
            return constant
        return dataclasses.replace(constant, array=spooled(constant.array))
