"""Run a plan with ctypes: the least executor, independent of the C runtime."""

import ctypes
import pathlib
import shutil
import subprocess
import tempfile

import numpy as np

from edgecomp.plan.plan import RegionKind, Storage


class PlanRunner:
    """Loads a plan's objects and makes its calls in order."""

    def __init__(self, plan):
        self.plan = plan
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            for symbol, content in plan.objects.items():
                (folder / f"{symbol}.o").write_bytes(content)
            compiler = next(c for c in ("cc", "gcc", "clang") if shutil.which(c))
            library = folder / "plan.so"
            objects = [str(folder / f"{s}.o") for s in plan.objects]
            subprocess.run(
                [compiler, "-shared", "-o", str(library), *objects, "-lm"], check=True
            )
            self._library = ctypes.CDLL(str(library))
        self._arena = _aligned(plan.arena_bytes, 0xA5)
        self._weights = _aligned(len(plan.weights), 0)
        self._weights[:] = np.frombuffer(plan.weights, np.uint8)
        self._scratch = _aligned(plan.workspace_bytes, 0)

    def run(self, feeds):
        for port in self.plan.inputs:
            array = np.asarray(feeds[port.name])
            assert array.shape == port.shape, (port, array.shape)
            contents = np.frombuffer(array.tobytes(), np.uint8)
            self._bytes(port.tensor)[: array.nbytes] = contents
        self._run(0, len(self.plan.calls), list(self.plan.regions))
        return {
            port.name: self.tensor(port.tensor, port.dtype, port.shape)
            for port in self.plan.outputs
        }

    def _run(self, call, end, regions):
        """Calls [call, end) of which ``regions`` are all that begin there."""
        while call < end:
            region = regions[0] if regions else None
            if region is None or region.first_call != call:
                self.call(call)
                call += 1
                continue
            inside = [r for r in regions[1:] if r.first_call < region.end_call]
            regions = regions[1 + len(inside) :]
            call = region.end_call
            if region.kind is not RegionKind.LOOP:
                taken = self._scalar(region.condition, True) == region.expected
                assert taken or region.kind is RegionKind.BRANCH, "an impossible branch"
                if taken:
                    self._run(region.first_call, call, inside)
                continue
            limit = self._scalar(region.limit, np.iinfo(np.int64).max)
            rounds = 0
            while rounds < limit and self._scalar(region.condition, True):
                assert rounds < region.most_rounds, "more rounds than there is memory for"
                if region.counter is not None:
                    self._bytes(region.counter)[:8] = np.array([rounds]).view(np.uint8)
                self._run(region.first_call, call, inside)
                rounds += 1

    def _scalar(self, index, default):
        if index is None:
            return default
        tensor = self.plan.tensors[index]
        return self.tensor(index, tensor.dtype, ())[()]

    def call(self, index):
        call = self.plan.calls[index]
        pointers = [ctypes.c_void_p(self._bytes(t).ctypes.data) for t in call.arguments]
        if call.workspace_bytes:
            pointers.append(ctypes.c_void_p(self._scratch.ctypes.data))
        function = getattr(self._library, call.kernel)
        function(
            *pointers,
            ctypes.c_int32(call.first_item),
            ctypes.c_int32(call.first_item + call.work_items),
        )

    def tensor(self, index, dtype, shape):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self._bytes(index)[:size].view(dtype).reshape(shape).copy()

    def _bytes(self, index):
        tensor = self.plan.tensors[index]
        store = self._arena if tensor.storage is Storage.ARENA else self._weights
        return store[tensor.offset_bytes :]


def _aligned(size, fill):
    raw = np.full(size + 128, fill, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]
