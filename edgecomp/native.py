"""A compiled model in this process: the C interface of the runtime, typed, through ctypes."""

import ctypes
import dataclasses
import math
import threading
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from edgecomp.errors import Code, EdgecompError, nearest_hint
from edgecomp.native_abi import MAX_RANK, EcCallProfile, EcOpenOptions, Status
from edgecomp.native_model import (
    CallInfo,
    PortInfo,
    call_info,
    load_library,
    numpy_dtype,
    port_info,
    read_model,
    tensor_info,
    text_of,
)

Array = np.typing.NDArray[Any]

_REBUILD = "build the bundle again, or copy it again from where it was built"

#: Status -> code of the error and what to try.
_ERRORS = {
    Status.ARGUMENT: (Code.USAGE, ""),
    Status.INPUT_NAME: (Code.INPUT_MISMATCH, ""),
    Status.INPUT_BYTES: (Code.INPUT_MISMATCH, ""),
    Status.SHAPE: (Code.INPUT_MISMATCH, "give a shape inside of the model's bounds"),
    Status.MEMORY_TOO_SMALL: (Code.INTERNAL, ""),
    Status.ROUNDS: (Code.INPUT_MISMATCH, "the bound is the loop's trip count at build time"),
    Status.COUNT: (
        Code.INPUT_MISMATCH,
        "build the model with a larger --bound for this dimension",
    ),
    Status.BRANCH: (
        Code.INPUT_MISMATCH,
        "build the model with the shapes that the other branch needs",
    ),
    Status.OUT_OF_MEMORY: (Code.DEVICE_FAILED, "close other programs, or use fewer threads"),
    Status.FILE: (Code.FILE_MISSING, "the weights belong beside the library"),
    Status.THREAD: (Code.DEVICE_FAILED, "use fewer threads"),
    Status.DESCRIPTOR: (Code.BUNDLE_INVALID, _REBUILD),
    Status.VERSION: (Code.BUNDLE_VERSION, "build the bundle with this version of edgecomp"),
    Status.WEIGHTS_BYTES: (Code.BUNDLE_CORRUPT, _REBUILD),
    Status.WEIGHTS_HASH: (Code.BUNDLE_CORRUPT, _REBUILD),
    Status.CPU_FEATURE: (
        Code.DEVICE_FAILED,
        "build for a target that this machine satisfies, such as --target host",
    ),
    Status.DEVICE_ABSENT: (Code.DEVICE_FAILED, "build for a target without that device"),
    Status.DEVICE: (Code.DEVICE_FAILED, ""),
    Status.DEVICE_FEATURE: (
        Code.DEVICE_FAILED,
        "build for a target that this device satisfies, or name another device",
    ),
    Status.DEVICE_BUILD: (Code.DEVICE_FAILED, "report it with the device's name and driver"),
    Status.DEVICE_MEMORY: (Code.DEVICE_FAILED, "close other programs that use the device"),
    Status.DEVICE_LOST: (Code.DEVICE_FAILED, "open the model again"),
}


@dataclasses.dataclass(frozen=True)
class CallProfile:
    """Times of one call over ``runs`` runs."""

    call: CallInfo
    runs: int
    total_ns: int
    minimum_ns: int


class Session:
    """An opened model.

    Calls from several threads are served one after the other. Use it as a context manager, or
    call ``close``.
    """

    def __init__(
        self,
        library: Path,
        *,
        weights: Path | None = None,
        threads: int = 1,
        skip_hash: bool = False,
        thread_shares: Sequence[int] | None = None,
        model: str = "default",
        device: str | None = None,
        device_cache: Path | None = None,
    ) -> None:
        """Open the model of a shared library.

        Args:
            library: the bundle's shared library, which exports ``ec_model_default``.
            weights: file with the weights; None for the embedded ones or, where the model has
                none, the file it names beside the library.
            threads: threads that compute, the calling one included.
            skip_hash: trust the contents of the weights.
            thread_shares: one weight per thread for slicing the work, None for equal.
            model: name of the model, where the library holds several.
            device: part of the name of the OpenCL device to run on, or of its platform's; None
                for any.
            device_cache: folder that exists, for what OpenCL drivers make of programs.

        Raises:
            EdgecompError: FILE_MISSING, BUNDLE_INVALID, BUNDLE_VERSION, BUNDLE_CORRUPT,
                DEVICE_FAILED (the processor lacks a feature) or USAGE.
        """
        self._handle = ctypes.c_void_p()
        self._lock = threading.Lock()
        self._path = library
        self._library = load_library(library)
        self._model = read_model(self._library, library, model)
        options, kept = self._options(weights, threads, skip_hash, thread_shares)
        if device is not None:  # ctypes keeps texts as long as the options
            options.device_name = device.encode()
        if device_cache is not None:
            options.device_cache = bytes(device_cache)
        self._check(
            self._library.ec_session_open(
                ctypes.byref(self._model), ctypes.byref(options), ctypes.byref(self._handle)
            )
        )
        del kept  # the runtime keeps none of the options' memory
        # The descriptor is checked now: everything in it can be read.
        read = self._model
        self.name = text_of(read.name)
        self.target = text_of(read.target)
        self.inputs = [port_info(read.inputs[i]) for i in range(read.input_count)]
        self.outputs = [port_info(read.outputs[i]) for i in range(read.output_count)]
        self.tensors = [tensor_info(read.tensors[i]) for i in range(read.tensor_count)]
        self.calls = [call_info(read.calls[i]) for i in range(read.call_count)]
        self.arena_bytes = int(read.arena_bytes)
        self.weights_bytes = int(read.weights_bytes)
        self.is_dynamic = bool(read.dynamic)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute the outputs.

        Args:
            inputs: name -> array of the input's shape and dtype, in any memory order.

        Returns:
            Output name -> new array.

        Raises:
            EdgecompError: INPUT_MISMATCH for a missing, unknown or unfitting input.
        """
        with self._lock:
            self._set_inputs(inputs)
            self._check(self._library.ec_session_run(self._handle))
            return self._read_outputs()

    def run_profiled(
        self, inputs: Mapping[str, Array], runs: int = 1
    ) -> tuple[dict[str, Array], list[CallProfile]]:
        """Compute the outputs ``runs`` times and measure each call.

        Returns:
            The outputs and one profile per call.
        """
        if runs < 1:
            raise EdgecompError(Code.USAGE, f"{runs} profiled runs: at least 1 is needed")
        profiles = (EcCallProfile * len(self.calls))()
        with self._lock:
            for _ in range(runs):
                self._set_inputs(inputs)
                self._check(
                    self._library.ec_session_run_profiled(
                        self._handle, profiles, len(self.calls)
                    )
                )
            outputs = self._read_outputs()
        measured = [
            CallProfile(call, int(p.runs), int(p.total_ns), int(p.minimum_ns))
            for call, p in zip(self.calls, profiles, strict=True)
        ]
        return outputs, measured

    def run_prefix(self, inputs: Mapping[str, Array], call_count: int) -> None:
        """Run the first ``call_count`` calls only, for reading tensors as they then are."""
        if not 0 <= call_count <= len(self.calls):
            raise EdgecompError(
                Code.USAGE, f"the first {call_count} of {len(self.calls)} calls cannot be run"
            )
        with self._lock:
            self._set_inputs(inputs)
            self._check(self._library.ec_session_run_prefix(self._handle, call_count))

    def tensor(self, index: int) -> Array:
        """A copy of a tensor of the plan as it is now: 1-D, in memory order, halo included."""
        if not 0 <= index < len(self.tensors):
            raise EdgecompError(Code.USAGE, f"tensor {index} of {len(self.tensors)}")
        with self._lock:
            self._require_open()
            data = ctypes.c_void_p()
            count = ctypes.c_uint64()
            self._check(
                self._library.ec_session_tensor_data(
                    self._handle, index, ctypes.byref(data), ctypes.byref(count)
                )
            )
            raw = ctypes.string_at(data.value or 0, count.value)
        return np.frombuffer(raw, numpy_dtype(self.tensors[index].dtype)).copy()

    def close(self) -> None:
        """Give everything back; more than once is allowed."""
        with self._lock:
            handle, self._handle = self._handle, ctypes.c_void_p()
        if handle:
            self._library.ec_session_close(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self.close()

    def _options(
        self,
        weights: Path | None,
        threads: int,
        skip_hash: bool,
        thread_shares: Sequence[int] | None,
    ) -> tuple[EcOpenOptions, list[object]]:
        """The options and what must stay alive while they are used."""
        if not 1 <= threads <= 0xFFFFFFFF:
            raise EdgecompError(Code.USAGE, f"{threads} threads: at least 1 is needed")
        options = EcOpenOptions(struct_bytes=ctypes.sizeof(EcOpenOptions), threads=threads)
        options.skip_hash = int(skip_hash)
        kept: list[object] = []
        path = weights or self._default_weights()
        if path is not None:
            encoded = bytes(path)
            options.weights_path = encoded
            kept.append(encoded)
        if thread_shares is not None:
            if len(thread_shares) != threads:
                raise EdgecompError(
                    Code.USAGE, f"{len(thread_shares)} thread shares for {threads} threads"
                )
            if any(not 0 <= share <= 0xFFFFFFFF for share in thread_shares):
                raise EdgecompError(Code.USAGE, f"thread shares {list(thread_shares)}")
            shares = (ctypes.c_uint32 * threads)(*thread_shares)
            options.thread_shares = ctypes.cast(shares, ctypes.POINTER(ctypes.c_uint32))
            kept.append(shares)
        return options, kept

    def _default_weights(self) -> Path | None:
        """The side file that the model names, beside the library."""
        if self._model.embedded_weights or not self._model.weights_file:
            return None
        return self._path.parent / text_of(self._model.weights_file)

    def _require_open(self) -> None:
        if not self._handle:
            raise EdgecompError(Code.USAGE, f"the session of '{self.name}' is closed")

    def _set_inputs(self, inputs: Mapping[str, Array]) -> None:
        self._require_open()
        known = [port.name for port in self.inputs]
        for name in inputs:
            if name not in known:
                raise EdgecompError(
                    Code.INPUT_MISMATCH,
                    f"the model has no input '{name}'",
                    hint=nearest_hint(name, known),
                )
        for index, port in enumerate(self.inputs):
            array = _fitting(port, inputs, dynamic=self.is_dynamic)
            if self.is_dynamic:
                shape = (ctypes.c_int64 * array.ndim)(*array.shape)
                self._check(
                    self._library.ec_session_set_input_shape(
                        self._handle, index, shape, array.ndim
                    )
                )
        for index, port in enumerate(self.inputs):
            array = _fitting(port, inputs, dynamic=self.is_dynamic)
            self._check(
                self._library.ec_session_set_input(
                    self._handle, index, array.ctypes.data, array.nbytes
                )
            )

    def _read_outputs(self) -> dict[str, Array]:
        outputs: dict[str, Array] = {}
        for index, port in enumerate(self.outputs):
            shape = self._output_shape(index) if self.is_dynamic else port.shape
            array = np.empty(shape, numpy_dtype(port.dtype))
            self._check(
                self._library.ec_session_get_output(
                    self._handle, index, array.ctypes.data, array.nbytes
                )
            )
            outputs[port.name] = array
        return outputs

    def _output_shape(self, index: int) -> tuple[int, ...]:
        shape = (ctypes.c_int64 * MAX_RANK)()
        rank = ctypes.c_uint32()
        self._check(
            self._library.ec_session_output_shape(
                self._handle, index, shape, ctypes.byref(rank)
            )
        )
        return tuple(shape[: rank.value])

    def _check(self, status: int) -> None:
        """Raise what a status stands for, unless it is OK."""
        if status == Status.OK:
            return
        message = text_of(self._library.ec_last_message())
        try:
            code, hint = _ERRORS[Status(status)]
        except ValueError:  # a library newer than this file
            code, hint = Code.BUNDLE_VERSION, ""
        raise EdgecompError(
            code,
            message or f"the runtime failed with status {status}",
            hint=hint,
            path=str(self._path),
        )


def _fitting(port: PortInfo, inputs: Mapping[str, Array], *, dynamic: bool = False) -> Array:
    """The contiguous array for an input, after looking at its dtype, and its shape if static."""
    wanted = f"{port.dtype}{list(port.shape)}"
    if port.name not in inputs:
        raise EdgecompError(
            Code.INPUT_MISMATCH,
            f"input '{port.name}' is missing",
            hint=f"give '{port.name}' as {wanted}",
        )
    array = inputs[port.name]
    if not isinstance(array, np.ndarray):
        raise EdgecompError(
            Code.INPUT_MISMATCH,
            f"input '{port.name}' is a {type(array).__name__}, not a numpy array",
            hint=f"numpy.asarray(..., dtype='{port.dtype}')",
        )
    if array.dtype != numpy_dtype(port.dtype):
        raise EdgecompError(
            Code.INPUT_MISMATCH,
            f"input '{port.name}' is {array.dtype}{list(array.shape)}, the model takes {wanted}",
            hint=f"array.astype('{port.dtype}')",
        )
    if dynamic:  # the runtime knows the bounds
        return np.ascontiguousarray(array).reshape(array.shape)
    if array.shape != port.shape:
        same_size = math.prod(array.shape) == math.prod(port.shape)
        raise EdgecompError(
            Code.INPUT_MISMATCH,
            f"input '{port.name}' is {array.dtype}{list(array.shape)}, the model takes {wanted}",
            hint="reshape or transpose it"
            if same_size
            else "the shape is fixed at build time",
        )
    return np.ascontiguousarray(array).reshape(port.shape)
