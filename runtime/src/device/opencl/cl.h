/* The part of OpenCL 1.2 that the back end uses.
 *
 * Declared here so that a build needs no headers of OpenCL and no library to link with: the
 * driver is found when a session is opened. Names, types and numbers are those of "The OpenCL
 * Specification", version 1.2, chapters 4 and 5 (functions) and appendix A.1 of its C API
 * headers' registry (numbers); sections stand beside the functions.
 */
#ifndef EDGECOMP_SRC_DEVICE_OPENCL_CL_H
#define EDGECOMP_SRC_DEVICE_OPENCL_CL_H

#include <stddef.h>
#include <stdint.h>

typedef int32_t cl_int;
typedef uint32_t cl_uint;
typedef uint64_t cl_ulong;
typedef cl_uint cl_bool;
typedef cl_ulong cl_bitfield;

typedef struct _cl_platform_id *cl_platform_id;
typedef struct _cl_device_id *cl_device_id;
typedef struct _cl_context *cl_context;
typedef struct _cl_command_queue *cl_command_queue;
typedef struct _cl_mem *cl_mem;
typedef struct _cl_program *cl_program;
typedef struct _cl_kernel *cl_kernel;
typedef struct _cl_event *cl_event;

/* Results. */
#define CL_SUCCESS 0
#define CL_DEVICE_NOT_AVAILABLE (-2)
#define CL_MEM_OBJECT_ALLOCATION_FAILURE (-4)
#define CL_OUT_OF_RESOURCES (-5)
#define CL_OUT_OF_HOST_MEMORY (-6)
#define CL_IMAGE_FORMAT_NOT_SUPPORTED (-10)
#define CL_BUILD_PROGRAM_FAILURE (-11)
#define CL_INVALID_CONTEXT (-34)
#define CL_INVALID_COMMAND_QUEUE (-36)
#define CL_INVALID_IMAGE_SIZE (-40)
#define CL_INVALID_BUFFER_SIZE (-61)

/* Questions and their answers. */
#define CL_PLATFORM_NAME 0x0902
#define CL_DEVICE_TYPE_CPU (1u << 1)
#define CL_DEVICE_TYPE_GPU (1u << 2)
#define CL_DEVICE_TYPE_ACCELERATOR (1u << 3)
#define CL_DEVICE_TYPE_ALL 0xFFFFFFFFu
#define CL_DEVICE_TYPE 0x1000
#define CL_DEVICE_MAX_MEM_ALLOC_SIZE 0x1010
#define CL_DEVICE_IMAGE2D_MAX_WIDTH 0x1011
#define CL_DEVICE_IMAGE2D_MAX_HEIGHT 0x1012
#define CL_DEVICE_IMAGE_SUPPORT 0x1016
#define CL_DEVICE_MEM_BASE_ADDR_ALIGN 0x1019 /* in bits */
#define CL_DEVICE_SINGLE_FP_CONFIG 0x101B
#define CL_FP_ROUND_TO_NEAREST (1u << 2)
#define CL_DEVICE_NAME 0x102B
#define CL_DRIVER_VERSION 0x102D
#define CL_DEVICE_VERSION 0x102F
#define CL_DEVICE_EXTENSIONS 0x1030
#define CL_DEVICE_HOST_UNIFIED_MEMORY 0x1035
/* Of OpenCL 2.0 and of cl_khr_image2d_from_buffer, in texels. */
#define CL_DEVICE_IMAGE_PITCH_ALIGNMENT 0x104A
#define CL_DEVICE_IMAGE_BASE_ADDRESS_ALIGNMENT 0x104B
#define CL_QUEUE_PROFILING_ENABLE (1u << 1)
#define CL_MEM_READ_WRITE (1u << 0)
#define CL_MEM_READ_ONLY (1u << 2)
#define CL_MEM_USE_HOST_PTR (1u << 3)
#define CL_MEM_COPY_HOST_PTR (1u << 5)
#define CL_MAP_READ (1u << 0)
#define CL_MAP_WRITE (1u << 1)
#define CL_MEM_OBJECT_IMAGE2D 0x10F1
#define CL_RGBA 0x10B5
#define CL_SIGNED_INT8 0x10D7
#define CL_SIGNED_INT32 0x10D9
#define CL_UNSIGNED_INT8 0x10DA
#define CL_UNSIGNED_INT16 0x10DB
#define CL_HALF_FLOAT 0x10DD
#define CL_FLOAT 0x10DE
#define CL_BUFFER_CREATE_TYPE_REGION 0x1220
#define CL_PROGRAM_BINARY_SIZES 0x1165
#define CL_PROGRAM_BINARIES 0x1166
#define CL_PROGRAM_BUILD_LOG 0x1183
#define CL_KERNEL_NUM_ARGS 0x1191
#define CL_KERNEL_WORK_GROUP_SIZE 0x11B0
#define CL_PROFILING_COMMAND_START 0x1282
#define CL_PROFILING_COMMAND_END 0x1283

typedef struct cl_buffer_region {
  size_t origin;
  size_t size;
} cl_buffer_region;

typedef struct cl_image_format {
  cl_uint image_channel_order;
  cl_uint image_channel_data_type;
} cl_image_format;

typedef struct cl_image_desc {
  cl_uint image_type;
  size_t image_width;
  size_t image_height;
  size_t image_depth;
  size_t image_array_size;
  size_t image_row_pitch;
  size_t image_slice_pitch;
  cl_uint num_mip_levels;
  cl_uint num_samples;
  cl_mem buffer;
} cl_image_desc;

typedef void (*cl_notify)(void); /* callbacks are never given */

/* X(name without cl, result, parameters): every function that the back end calls. */
#define EC_CL_FUNCTIONS(X)                                                                   \
  /* 4.1, 4.2: platforms and devices */                                                      \
  X(GetPlatformIDs, cl_int, (cl_uint, cl_platform_id *, cl_uint *))                          \
  X(GetPlatformInfo, cl_int, (cl_platform_id, cl_uint, size_t, void *, size_t *))            \
  X(GetDeviceIDs, cl_int, (cl_platform_id, cl_bitfield, cl_uint, cl_device_id *, cl_uint *)) \
  X(GetDeviceInfo, cl_int, (cl_device_id, cl_uint, size_t, void *, size_t *))                \
  /* 4.4: contexts */                                                                        \
  X(CreateContext, cl_context,                                                               \
    (const intptr_t *, cl_uint, const cl_device_id *, cl_notify, void *, cl_int *))          \
  X(ReleaseContext, cl_int, (cl_context))                                                    \
  /* 5.1: queues */                                                                          \
  X(CreateCommandQueue, cl_command_queue, (cl_context, cl_device_id, cl_bitfield, cl_int *)) \
  X(ReleaseCommandQueue, cl_int, (cl_command_queue))                                         \
  /* 5.2, 5.3, 5.4: memory */                                                                \
  X(CreateBuffer, cl_mem, (cl_context, cl_bitfield, size_t, void *, cl_int *))               \
  X(CreateSubBuffer, cl_mem, (cl_mem, cl_bitfield, cl_uint, const void *, cl_int *))         \
  X(CreateImage, cl_mem,                                                                     \
    (cl_context, cl_bitfield, const cl_image_format *, const cl_image_desc *, void *,        \
     cl_int *))                                                                              \
  X(ReleaseMemObject, cl_int, (cl_mem))                                                      \
  X(EnqueueReadBuffer, cl_int,                                                               \
    (cl_command_queue, cl_mem, cl_bool, size_t, size_t, void *, cl_uint, const cl_event *,   \
     cl_event *))                                                                            \
  X(EnqueueWriteBuffer, cl_int,                                                              \
    (cl_command_queue, cl_mem, cl_bool, size_t, size_t, const void *, cl_uint,               \
     const cl_event *, cl_event *))                                                          \
  X(EnqueueCopyBufferToImage, cl_int,                                                        \
    (cl_command_queue, cl_mem, cl_mem, size_t, const size_t *, const size_t *, cl_uint,      \
     const cl_event *, cl_event *))                                                          \
  X(EnqueueMapBuffer, void *,                                                                \
    (cl_command_queue, cl_mem, cl_bool, cl_bitfield, size_t, size_t, cl_uint,                \
     const cl_event *, cl_event *, cl_int *))                                                \
  X(EnqueueUnmapMemObject, cl_int,                                                           \
    (cl_command_queue, cl_mem, void *, cl_uint, const cl_event *, cl_event *))               \
  /* 5.6: programs */                                                                        \
  X(CreateProgramWithSource, cl_program,                                                     \
    (cl_context, cl_uint, const char **, const size_t *, cl_int *))                          \
  X(CreateProgramWithBinary, cl_program,                                                     \
    (cl_context, cl_uint, const cl_device_id *, const size_t *, const unsigned char **,      \
     cl_int *, cl_int *))                                                                    \
  X(BuildProgram, cl_int,                                                                    \
    (cl_program, cl_uint, const cl_device_id *, const char *, cl_notify, void *))            \
  X(GetProgramInfo, cl_int, (cl_program, cl_uint, size_t, void *, size_t *))                 \
  X(GetProgramBuildInfo, cl_int,                                                             \
    (cl_program, cl_device_id, cl_uint, size_t, void *, size_t *))                           \
  X(ReleaseProgram, cl_int, (cl_program))                                                    \
  /* 5.7, 5.8: kernels */                                                                    \
  X(CreateKernel, cl_kernel, (cl_program, const char *, cl_int *))                           \
  X(SetKernelArg, cl_int, (cl_kernel, cl_uint, size_t, const void *))                        \
  X(GetKernelInfo, cl_int, (cl_kernel, cl_uint, size_t, void *, size_t *))                   \
  X(GetKernelWorkGroupInfo, cl_int,                                                          \
    (cl_kernel, cl_device_id, cl_uint, size_t, void *, size_t *))                            \
  X(EnqueueNDRangeKernel, cl_int,                                                            \
    (cl_command_queue, cl_kernel, cl_uint, const size_t *, const size_t *, const size_t *,   \
     cl_uint, const cl_event *, cl_event *))                                                 \
  X(ReleaseKernel, cl_int, (cl_kernel))                                                      \
  /* 5.9, 5.12, 5.13: events, their times, and waiting */                                    \
  X(ReleaseEvent, cl_int, (cl_event))                                                        \
  X(GetEventProfilingInfo, cl_int, (cl_event, cl_uint, size_t, void *, size_t *))            \
  X(Finish, cl_int, (cl_command_queue))

#endif /* EDGECOMP_SRC_DEVICE_OPENCL_CL_H */
