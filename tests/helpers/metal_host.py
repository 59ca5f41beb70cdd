"""A small host for launch tables: what an app does with a bundle's Metal, by the emulator.

It knows the bundle's folder and the launch table; the table is complete if this is right.
"""

import ctypes
import json

import numpy as np

from helpers.cuda import Kernel, compiled
from helpers.metal import host_source


class MetalModel:
    """A bundle's kernels on this machine's processor.

    Args:
        folder: the bundle.
    """

    def __init__(self, folder):
        (path,) = (folder / "shaders").glob("*.json")
        self.table = json.loads(path.read_text())
        text = (path.parent / self.table["source"]).read_text()
        self._library = ctypes.CDLL(str(compiled(host_source(text))))
        self._kernels = {}
        table = ctypes.cast(self._library.ec_emulated_kernels, ctypes.POINTER(Kernel))
        number = 0
        while table[number].name:
            self._kernels[table[number].name.decode()] = table[number]
            number += 1
        weights = self.table["weights"]
        self._memory = {
            "arena": _aligned(self.table["arena"]["bytes"]),
            "weights": _aligned(weights["bytes"]),
        }
        content = np.frombuffer((path.parent / weights["file"]).read_bytes(), np.uint8)
        for part in weights["parts"]:
            piece = content[part["file_offset"] :][: part["bytes"]]
            self._memory["weights"][part["offset"] :][: part["bytes"]] = piece

    def run(self, feeds):
        """Outputs by name."""
        for port in self.table["inputs"]:
            array = np.ascontiguousarray(feeds[port["name"]], port["dtype"])
            self._place(port)[: port["bytes"]] = array.reshape(-1).view(np.uint8)
        for call in self.table["calls"]:
            self._start(call)
        return {
            port["name"]: self._place(port)[: port["bytes"]]
            .view(port["dtype"])
            .reshape(port["shape"])
            .copy()
            for port in self.table["outputs"]
        }

    def _place(self, binding):
        return self._memory[binding["buffer"]][binding["offset"] :]

    def _start(self, call):
        kernel = self._kernels[call["kernel"]]
        assert kernel.parameters == len(call["bindings"])
        pointers = [ctypes.c_void_p(self._place(b).ctypes.data) for b in call["bindings"]]
        given = (ctypes.c_void_p * len(pointers))(
            *(ctypes.cast(ctypes.byref(pointer), ctypes.c_void_p) for pointer in pointers)
        )
        groups, items = ((ctypes.c_uint * 3)(*call[k]) for k in ("groups", "group_size"))
        self._library.ec_emulate(ctypes.byref(kernel), groups, items, given)


def _aligned(size):
    """Memory that begins where a page does, as a Metal buffer."""
    raw = np.full(size + 4096, 0xA5, np.uint8)
    start = -raw.ctypes.data % 4096
    return raw[start : start + size]
