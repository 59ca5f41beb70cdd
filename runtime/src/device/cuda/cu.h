/* The part of CUDA's driver API that the back end uses.
 *
 * Declared here so that a build needs no headers of CUDA and no library to link with: the
 * driver is found when a session is opened. Types and numbers are those of cuda.h; names are
 * as the driver exports them, with the suffix of the version that is meant. All of them are
 * there since CUDA 11.4.
 */
#ifndef EDGECOMP_SRC_DEVICE_CUDA_CU_H
#define EDGECOMP_SRC_DEVICE_CUDA_CU_H

#include <stddef.h>

typedef unsigned int cu_result;
typedef int cu_device;
typedef unsigned long long cu_address; /* in the device's memory */

typedef struct CUctx_st *cu_context;
typedef struct CUstream_st *cu_stream;
typedef struct CUevent_st *cu_event;
typedef struct CUmod_st *cu_module;
typedef struct CUfunc_st *cu_function;
typedef struct CUgraph_st *cu_graph;
typedef struct CUgraphNode_st *cu_graph_node;
typedef struct CUgraphExec_st *cu_graph_run;

/* Results. */
#define CU_SUCCESS 0u
#define CU_OUT_OF_MEMORY 2u
#define CU_DEINITIALIZED 4u
#define CU_STUB_LIBRARY 34u
#define CU_CALL_REQUIRES_NEWER_DRIVER 36u
#define CU_DEVICE_UNAVAILABLE 46u
#define CU_NO_DEVICE 100u
#define CU_INVALID_IMAGE 200u
#define CU_INVALID_CONTEXT 201u
#define CU_NO_BINARY_FOR_GPU 209u
#define CU_ECC_UNCORRECTABLE 214u
#define CU_INVALID_PTX 218u
#define CU_NVLINK_UNCORRECTABLE 220u
#define CU_JIT_COMPILER_NOT_FOUND 221u
#define CU_UNSUPPORTED_PTX_VERSION 222u
#define CU_JIT_COMPILATION_DISABLED 223u
#define CU_CONTAINED 226u
#define CU_ILLEGAL_ADDRESS 700u
#define CU_LAUNCH_OUT_OF_RESOURCES 701u
#define CU_LAUNCH_TIMEOUT 702u
#define CU_CONTEXT_IS_DESTROYED 709u
#define CU_ASSERT 710u
#define CU_HARDWARE_STACK_ERROR 714u
#define CU_ILLEGAL_INSTRUCTION 715u
#define CU_MISALIGNED_ADDRESS 716u
#define CU_INVALID_ADDRESS_SPACE 717u
#define CU_INVALID_PC 718u
#define CU_LAUNCH_FAILED 719u
#define CU_NOT_SUPPORTED 801u
#define CU_SYSTEM_DRIVER_MISMATCH 803u
#define CU_COMPAT_NOT_SUPPORTED 804u
#define CU_GRAPH_EXEC_UPDATE_FAILURE 910u

/* Questions about a device and about a kernel. */
#define CU_DEVICE_MAX_BLOCK_DIM_X 2u /* y and z follow */
#define CU_DEVICE_MAX_GRID_DIM_X 5u
#define CU_DEVICE_MAJOR 75u
#define CU_DEVICE_MINOR 76u
#define CU_FUNCTION_MAX_THREADS_PER_BLOCK 0u

/* Options. */
#define CU_STREAM_NON_BLOCKING 1u
#define CU_CAPTURE_RELAXED 2u /* other threads may call what they like */
#define CU_JIT_ERROR_LOG 5u
#define CU_JIT_ERROR_LOG_BYTES 6u

/* X(name without cu, parameters): every function that the back end calls; each returns a
 * cu_result. Enumerations of CUDA's are unsigned here. */
#define EC_CU_FUNCTIONS(X)                                                                  \
  X(Init, (unsigned))                                                                       \
  X(DriverGetVersion, (int *))                                                              \
  X(GetErrorName, (cu_result, const char **))                                               \
  /* Devices */                                                                             \
  X(DeviceGetCount, (int *))                                                                \
  X(DeviceGet, (cu_device *, int))                                                          \
  X(DeviceGetName, (char *, int, cu_device))                                                \
  X(DeviceGetAttribute, (int *, unsigned, cu_device))                                       \
  X(DeviceTotalMem_v2, (size_t *, cu_device))                                               \
  /* Contexts */                                                                            \
  X(CtxCreate_v2, (cu_context *, unsigned, cu_device))                                      \
  X(CtxDestroy_v2, (cu_context))                                                            \
  X(CtxPushCurrent_v2, (cu_context))                                                        \
  X(CtxPopCurrent_v2, (cu_context *))                                                       \
  /* Memory */                                                                              \
  X(MemAlloc_v2, (cu_address *, size_t))                                                    \
  X(MemFree_v2, (cu_address))                                                               \
  X(MemHostAlloc, (void **, size_t, unsigned))                                              \
  X(MemFreeHost, (void *))                                                                  \
  X(MemcpyHtoD_v2, (cu_address, const void *, size_t))                                      \
  X(MemcpyDtoH_v2, (void *, cu_address, size_t))                                            \
  X(MemcpyHtoDAsync_v2, (cu_address, const void *, size_t, cu_stream))                      \
  X(MemcpyDtoHAsync_v2, (void *, cu_address, size_t, cu_stream))                            \
  /* Modules and kernels */                                                                 \
  X(ModuleLoadDataEx, (cu_module *, const void *, unsigned, unsigned *, void **))           \
  X(ModuleUnload, (cu_module))                                                              \
  X(ModuleGetFunction, (cu_function *, cu_module, const char *))                            \
  X(FuncGetAttribute, (int *, unsigned, cu_function))                                       \
  X(LaunchKernel, (cu_function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, \
                   unsigned, cu_stream, void **, void **))                                  \
  /* Streams, events, graphs */                                                             \
  X(StreamCreate, (cu_stream *, unsigned))                                                  \
  X(StreamDestroy_v2, (cu_stream))                                                          \
  X(StreamSynchronize, (cu_stream))                                                         \
  X(StreamBeginCapture_v2, (cu_stream, unsigned))                                           \
  X(StreamEndCapture, (cu_stream, cu_graph *))                                              \
  X(EventCreate, (cu_event *, unsigned))                                                    \
  X(EventDestroy_v2, (cu_event))                                                            \
  X(EventRecord, (cu_event, cu_stream))                                                     \
  X(EventElapsedTime, (float *, cu_event, cu_event))                                        \
  X(GraphInstantiateWithFlags, (cu_graph_run *, cu_graph, unsigned long long))              \
  X(GraphExecUpdate, (cu_graph_run, cu_graph, cu_graph_node *, unsigned *))                 \
  X(GraphUpload, (cu_graph_run, cu_stream))                                                 \
  X(GraphLaunch, (cu_graph_run, cu_stream))                                                 \
  X(GraphExecDestroy, (cu_graph_run))                                                       \
  X(GraphDestroy, (cu_graph))

#endif /* EDGECOMP_SRC_DEVICE_CUDA_CU_H */
