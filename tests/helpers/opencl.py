"""Run the kernel calls of one operation on the first OpenCL device, through ctypes."""

import ctypes
import functools

import numpy as np
import pytest

from edgecomp.plan.values import Value
from edgecomp.schedules.schedule import Constant
from helpers.launches import BEHIND, bytes_behind, empty, groups_of, numbers_of

_READ_WRITE, _COPY_HOST_PTR, _ALL, _BUILD_LOG = 1, 32, 0xFFFFFFFF, 0x1183
_IMAGE2D, _RGBA = 0x10F1, 0x10B5
#: Channels of images, by the type of elements.
_CHANNELS = {"int8": 0x10D7, "int32": 0x10D9, "uint8": 0x10DA, "uint16": 0x10DB, "float16": 0x10DD,
             "float32": 0x10DE}  # fmt: skip


class _ImageDesc(ctypes.Structure):
    """cl_image_desc."""

    _fields_ = (
        ("image_type", ctypes.c_uint32),
        *((name, ctypes.c_size_t) for name in ("width", "height", "depth", "array_size",
                                               "row_pitch", "slice_pitch")),
        ("num_mip_levels", ctypes.c_uint32),
        ("num_samples", ctypes.c_uint32),
        ("buffer", ctypes.c_void_p),
    )  # fmt: skip


class _Device:
    """Library, device, context and queue."""

    def __init__(self):
        self.cl = ctypes.CDLL("libOpenCL.so.1")
        for name in ("CreateContext", "CreateCommandQueue", "CreateBuffer", "CreateImage",
                     "CreateKernel", "CreateProgramWithSource"):  # fmt: skip
            getattr(self.cl, f"cl{name}").restype = ctypes.c_void_p
        platforms, devices = (ctypes.c_void_p * 8)(), (ctypes.c_void_p * 8)()
        count = ctypes.c_uint32()
        self.check(self.cl.clGetPlatformIDs(8, platforms, ctypes.byref(count)))
        self.check(self.cl.clGetDeviceIDs(ctypes.c_void_p(platforms[0]), ctypes.c_uint64(_ALL), 8,
                                          devices, ctypes.byref(count)))  # fmt: skip
        self.device = ctypes.c_void_p(devices[0])
        error = ctypes.c_int32()
        self.context = ctypes.c_void_p(
            self.cl.clCreateContext(None, 1, ctypes.byref(self.device), None, None,
                                    ctypes.byref(error))
        )  # fmt: skip
        self.check(error.value)
        self.queue = ctypes.c_void_p(
            self.cl.clCreateCommandQueue(self.context, self.device, ctypes.c_uint64(0),
                                         ctypes.byref(error))
        )  # fmt: skip
        self.check(error.value)

    def check(self, result):
        assert result == 0, f"OpenCL: {result}"

    def build(self, text):
        """A program; fails with the compiler's log."""
        data = text.encode()
        error = ctypes.c_int32()
        source, length = ctypes.c_char_p(data), ctypes.c_size_t(len(data))
        program = ctypes.c_void_p(
            self.cl.clCreateProgramWithSource(self.context, 1, ctypes.byref(source),
                                              ctypes.byref(length), ctypes.byref(error))
        )  # fmt: skip
        self.check(error.value)
        if self.cl.clBuildProgram(program, 1, ctypes.byref(self.device), b"", None, None):
            log = ctypes.create_string_buffer(1 << 16)
            self.cl.clGetProgramBuildInfo(program, self.device, _BUILD_LOG,
                                          ctypes.c_size_t(len(log)), log, None)  # fmt: skip
            pytest.fail(f"{log.value.decode()}\n{text}")
        return program

    def buffer(self, array):
        """A buffer with the array's bytes."""
        error = ctypes.c_int32()
        made = self.cl.clCreateBuffer(
            self.context, ctypes.c_uint64(_READ_WRITE | _COPY_HOST_PTR),
            ctypes.c_size_t(array.nbytes), ctypes.c_void_p(array.ctypes.data), ctypes.byref(error),
        )  # fmt: skip
        self.check(error.value)
        return ctypes.c_void_p(made)

    def image(self, argument, buffer, dtype):
        """An image with what a buffer holds now."""
        error = ctypes.c_int32()
        form = (ctypes.c_uint32 * 2)(_RGBA, _CHANNELS[np.dtype(dtype).name])
        desc = _ImageDesc(image_type=_IMAGE2D, width=argument.width, height=argument.height)
        made = self.cl.clCreateImage(self.context, ctypes.c_uint64(_READ_WRITE), form,
                                     ctypes.byref(desc), None, ctypes.byref(error))  # fmt: skip
        self.check(error.value)
        image = ctypes.c_void_p(made)
        sizes = ctypes.c_size_t * 3
        region = sizes(argument.width, argument.height, 1)
        self.check(self.cl.clEnqueueCopyBufferToImage(self.queue, buffer, image,
                                                      ctypes.c_size_t(0), sizes(0, 0, 0), region,
                                                      0, None, None))  # fmt: skip
        return image

    def run(self, program, symbol, arguments, groups, local_sizes):
        """Start a kernel: buffers, then numbers."""
        error = ctypes.c_int32()
        kernel = ctypes.c_void_p(
            self.cl.clCreateKernel(program, symbol.encode(), ctypes.byref(error))
        )
        self.check(error.value)
        for index, argument in enumerate(arguments):
            self.check(self.cl.clSetKernelArg(kernel, index,
                                              ctypes.c_size_t(ctypes.sizeof(argument)),
                                              ctypes.byref(argument)))  # fmt: skip
        items = [count * items for count, items in zip(groups, local_sizes, strict=True)]
        sizes, group = (ctypes.c_size_t * 3)(*items), (ctypes.c_size_t * 3)(*local_sizes)
        self.check(self.cl.clEnqueueNDRangeKernel(self.queue, kernel, 3, None, sizes, group, 0,
                                                  None, None))  # fmt: skip
        self.check(self.cl.clFinish(self.queue))
        self.cl.clReleaseKernel(kernel)

    def read(self, buffer, array):
        """The buffer's bytes into the array; the buffer is given back."""
        self.check(self.cl.clEnqueueReadBuffer(self.queue, buffer, 1, ctypes.c_size_t(0),
                                               ctypes.c_size_t(array.nbytes),
                                               ctypes.c_void_p(array.ctypes.data), 0, None,
                                               None))  # fmt: skip
        self.cl.clReleaseMemObject(buffer)


@functools.cache
def reason_without_device():
    """Why nothing can run, "" where a device is there."""
    try:
        _device()
    except OSError:
        return "no OpenCL driver is installed (apt install pocl-opencl-icd)"
    except AssertionError as error:
        return f"no OpenCL device: {error}"
    return ""


@functools.cache
def _device():
    return _Device()


def run_gpu_calls(calls, target, buffers, sizes=None, head=""):
    """Run calls in order; see ``helpers.kernels.run_calls``. ``head`` is in front of their text.

    Behind each buffer lie bytes that kernels may read but not write: those of larger sizes, too.
    """
    sizes = sizes or {}
    if reason_without_device():
        pytest.skip(reason_without_device())
    from edgecomp.lower.device_source import opencl_source

    device = _device()
    program = device.build(head + opencl_source([call.kernel for call in calls], target.gpu))
    arrays, made = {}, {}
    for argument in (argument for call in calls for argument in call.arguments):
        if argument in made:
            continue
        if isinstance(argument, Constant):
            array = np.ascontiguousarray(argument.array).reshape(-1)
        elif argument in buffers:
            array = np.ascontiguousarray(buffers[argument])
        elif argument.constant is not None:
            array = np.ascontiguousarray(argument.constant).reshape(-1)
        else:
            array = empty(argument, sizes)
        behind = max(
            bytes_behind(argument, array),
            _image_bytes(calls, argument, array.dtype) - array.nbytes,
        )
        raw = np.full(array.nbytes + behind, BEHIND, np.uint8)
        raw[: array.nbytes] = array.view(np.uint8)
        arrays[argument] = raw, array.dtype, behind
        made[argument] = device.buffer(raw)
    for call in calls:
        groups = groups_of(call, sizes)
        if groups is None:
            continue
        given = [made[argument] for argument in call.arguments]
        for image in call.launch.images:
            read = arrays[call.arguments[image.argument]][1]
            given[image.argument] = device.image(image, given[image.argument], read)
        given += map(ctypes.c_int32, numbers_of(call, sizes))
        device.run(program, call.kernel.symbol, given, groups, call.launch.local_sizes)
        for image in call.launch.images:
            device.cl.clReleaseMemObject(given[image.argument])
    results = {}
    for argument, (raw, dtype, behind) in arrays.items():
        before = raw.copy()
        device.read(made[argument], raw)
        end = raw.nbytes - behind
        assert (raw[end:] == before[end:]).all(), "wrote past the end"
        if isinstance(argument, Value):
            results[argument] = raw[:end].view(dtype)
        else:
            assert (raw == before).all(), "wrote to a constant"
    device.cl.clReleaseProgram(program)
    return results


def _image_bytes(calls, argument, dtype):
    """Of the largest image that calls read an argument as; 0 for none."""
    return max(
        (
            image.elements * dtype.itemsize
            for call in calls
            for image in call.launch.images
            if call.arguments[image.argument] is argument
        ),
        default=0,
    )
