/* The model descriptor: what a generated C source hands to the runtime.
 *
 * Everything is const and lives in the bundle's library. The runtime checks a descriptor once,
 * when it is opened, and trusts it afterwards. Fields are append only; `struct_bytes` and
 * `abi_version` let a runtime refuse a descriptor it does not understand.
 */
#ifndef EDGECOMP_MODEL_H
#define EDGECOMP_MODEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EC_MODEL_MAGIC 0x4c444d45u /* "EMDL" */
#define EC_MODEL_ABI_VERSION 8u
#define EC_MAX_RANK 8
#define EC_MAX_KERNEL_POINTERS 12
#define EC_MAX_LAUNCH_CONSTANTS 16 /* sizes of a dynamic call included */
#define EC_MAX_REGION_DEPTH 16
#define EC_NO_TENSOR UINT32_MAX

/* Element types. Append only. Types of less than 8 bits have one element in the low bits of
 * each byte; the bits above are 0. */
typedef enum ec_dtype {
  EC_DTYPE_FLOAT32 = 1,
  EC_DTYPE_UINT8 = 2,
  EC_DTYPE_INT8 = 3,
  EC_DTYPE_UINT16 = 4,
  EC_DTYPE_INT16 = 5,
  EC_DTYPE_INT32 = 6,
  EC_DTYPE_INT64 = 7,
  EC_DTYPE_BOOL = 9,
  EC_DTYPE_FLOAT16 = 10,
  EC_DTYPE_FLOAT64 = 11,
  EC_DTYPE_UINT32 = 12,
  EC_DTYPE_UINT64 = 13,
  EC_DTYPE_BFLOAT16 = 16,
  EC_DTYPE_FLOAT8_E4M3FN = 17,
  EC_DTYPE_FLOAT8_E4M3FNUZ = 18,
  EC_DTYPE_FLOAT8_E5M2 = 19,
  EC_DTYPE_FLOAT8_E5M2FNUZ = 20,
  EC_DTYPE_UINT4 = 21,
  EC_DTYPE_INT4 = 22,
  EC_DTYPE_FLOAT4_E2M1FN = 23,
  EC_DTYPE_FLOAT8_E8M0FNU = 24,
  EC_DTYPE_UINT2 = 25,
  EC_DTYPE_INT2 = 26
} ec_dtype;

/* Where a tensor's bytes are. Append only. */
typedef enum ec_storage { EC_STORAGE_ARENA = 0, EC_STORAGE_WEIGHTS = 1 } ec_storage;

/* Back ends, by ec_call.device. Append only. */
typedef enum ec_device_kind {
  EC_DEVICE_CPU = 0,
  EC_DEVICE_OPENCL = 1,
  EC_DEVICE_CUDA = 2
} ec_device_kind;
#define EC_DEVICE_COUNT 3u

/* A compiled kernel is a plain C function
 *   void kernel(void *p0, ..., void *pN, int32_t lo, int32_t hi)
 * that computes work items [lo, hi). Pointers are the call's tensors in order, then the
 * calling thread's workspace if `workspace_bytes` is not 0, then the sizes of a dynamic call.
 * Kernels of one call write disjoint bytes for disjoint ranges. */
typedef void (*ec_kernel)(void);

/* Kernels of a device: a text, which its driver compiles when a session is opened, or what was
 * compiled before. */
typedef struct ec_program {
  const char *text;    /* `text_bytes` bytes and a zero behind them; of a fat binary 8-byte
                          aligned */
  const char *options; /* for the driver's compiler, "" for none; of a fat binary what it has:
                          "sm_87 compute_87" is code for capability 8.7, and PTX */
  const char *extensions; /* comma separated: what the device must have; "" for none */
  uint64_t text_bytes;
  uint32_t device;   /* ec_device_kind, not the CPU */
  uint32_t format;   /* ec_program_format */
  uint32_t version;  /* least one of the device's interface: 100 * major + 10 * minor */
  uint32_t reserved; /* zero */
} ec_program;

/* Languages of programs. Append only. */
typedef enum ec_program_format {
  EC_PROGRAM_OPENCL_C = 1,
  EC_PROGRAM_CUDA_FATBIN = 2 /* or one image of it: a cubin, or PTX */
} ec_program_format;

/* What a call for a device other than the CPU does. Append only. */
typedef enum ec_launch_kind {
  EC_LAUNCH_KERNEL = 1,
  EC_LAUNCH_TO_DEVICE = 2,  /* copies its one tensor from the arena to the device's */
  EC_LAUNCH_FROM_DEVICE = 3 /* and back */
} ec_launch_kind;

/* A tensor that a kernel reads as image2d_t, with texels of four elements (CL_RGBA): `height`
 * rows of `width` texels, one behind the other from the tensor's first byte on. The last row
 * may end behind the tensor, but not behind its storage. Elements are float32, float16, int8,
 * uint8, int32 or uint16, and texels have the channels of that type. */
typedef struct ec_image {
  uint32_t argument; /* index into the call's tensors; ascending in a launch */
  uint32_t width;    /* texels */
  uint32_t height;
  uint32_t reserved; /* zero */
} ec_image;

/* How such a call is made.
 *
 * A device has an arena of its own beside the session's, in which each tensor has the same
 * place, and a copy of the weights that its calls read. Calls see the arena of their device
 * only: where one device reads what another has written, a copy stands between them. Inputs
 * and outputs of the model are in the session's arena. Where both share their memory a copy
 * may be no more than a word to the driver. */
typedef struct ec_launch {
  uint32_t kind;            /* ec_launch_kind */
  uint32_t program;         /* index into ec_model.programs, 0 for a copy */
  const char *kernel;       /* name in the program; NULL for a copy */
  const int32_t *constants; /* arguments behind the call's tensors */
  uint32_t constant_count;  /* at most EC_MAX_LAUNCH_CONSTANTS */
  uint32_t global_sizes[3]; /* work items, multiples of the local sizes; 0 for a copy */
  uint32_t local_sizes[3];  /* work items of a group; 0 for a copy */
  uint32_t image_count;     /* of OpenCL's kernels only */
  const ec_image *images;   /* arguments that are images; the others are buffers */
} ec_launch;

typedef struct ec_tensor {
  const char *name;
  uint64_t offset_bytes; /* multiple of 64 */
  uint64_t bytes;        /* contents; 64 more bytes follow inside the same storage */
  uint32_t dtype;        /* ec_dtype */
  uint32_t storage;      /* ec_storage */
} ec_tensor;

typedef struct ec_call {
  ec_kernel kernel;
  const uint32_t *tensors;  /* `pointer_count` indices into ec_model.tensors */
  uint32_t pointer_count;   /* without the workspace pointer */
  uint32_t work_items;      /* 1 to INT32_MAX; 1: runs on the calling thread alone */
  uint64_t workspace_bytes; /* of each thread, at most ec_model.workspace_bytes */
  uint64_t multiply_adds;
  const char *operator_name;
  const char *schedule;    /* "fallback" where no schedule claimed it */
  const char *nodes;       /* ONNX node names, comma separated */
  const char *source;      /* "file.py:line" or "" */
  uint32_t device;         /* ec_device_kind */
  uint32_t grain_items;    /* least work items that are worth another thread; 0 is 1 */
  uint32_t first_item;     /* the kernel gets [first_item + lo, first_item + hi) */
  uint32_t strip;          /* see below; 0 for a call that all threads share */
  uint32_t strip_flags;    /* EC_STRIP_...; 0 without a strip */
  const ec_launch *launch; /* NULL for the CPU; others use no `kernel`, workspace, items */
} ec_call;

/* Strips. Consecutive calls with strips are a group, which begins with a call that says so.
 * One thread makes the calls of a strip in their order, each with all its work items, while
 * others make those of other strips; those of its seam come before all others, and a call that
 * meets the next strip's seam after that. Made one by one in the order of the model the calls
 * compute the same. All calls of a group are the CPU's; there are two strips or more, and the
 * last call is of the last one. */
#define EC_MAX_STRIPS 16
#define EC_STRIP_BEGINS 1u /* the first call of a group */
#define EC_STRIP_SEAM 2u   /* writes what the strip before reads too; not of strip 1 */
#define EC_STRIP_MEETS 4u  /* reads what the next strip's seam writes */
#define EC_STRIP_SHORT 8u  /* with EC_STRIP_BEGINS: one thread alone makes each call whole */

/* Kinds of ec_region. Append only. */
typedef enum ec_region_kind {
  EC_REGION_BRANCH = 1,
  EC_REGION_LOOP = 2,
  EC_REGION_REQUIRED = 3
} ec_region_kind;

/* Calls [first_call, end_call) that do not simply run once.
 *
 * A branch runs where `condition` (not zero, as a truth) equals `expected`. A required one
 * fails with EC_ERROR_BRANCH where it does not: the model has nothing to run instead.
 *
 * A loop runs again and again: before each round the runtime stores the number of rounds done
 * into `counter`, and it ends when `limit` rounds are done or `condition` is zero. A run that
 * would need more than `most_rounds` rounds fails with EC_ERROR_ROUNDS.
 *
 * The regions of a model are in the order of their first calls, outer ones before inner ones;
 * two are apart or one contains the other. The runtime reads and writes the tensors named here
 * itself, in the thread that runs the session. */
typedef struct ec_region {
  uint32_t kind;       /* ec_region_kind */
  uint32_t first_call; /* less than end_call */
  uint32_t end_call;
  uint32_t condition;   /* bool tensor of 1 byte; a loop may have EC_NO_TENSOR: always true */
  uint32_t expected;    /* branch: 0 or 1; loop: 1 */
  uint32_t limit;       /* loop: int64 tensor of 8 bytes, or EC_NO_TENSOR: none */
  uint32_t counter;     /* loop: int64 tensor of 8 bytes in the arena, or EC_NO_TENSOR */
  uint32_t reserved;    /* zero */
  uint64_t most_rounds; /* loop: as many rounds there is memory for; 0 for branches */
} ec_region;

/* An input or output as the user sees it: contiguous, row-major, ONNX order. dtype and bytes
 * are those of its tensor. Inputs lie in the arena and do not overlap. */
typedef struct ec_port {
  const char *name;
  uint32_t tensor;
  uint32_t dtype;    /* ec_dtype */
  uint32_t rank;     /* at most EC_MAX_RANK; 0 is a scalar */
  uint32_t reserved; /* zero */
  int64_t shape[EC_MAX_RANK];
} ec_port;

/* One product of an extent: factor * symbols[0] * ... * symbols[symbol_count - 1]. */
#define EC_MAX_TERM_SYMBOLS 6
typedef struct ec_term {
  int64_t factor;
  uint32_t symbol_count;                 /* at most EC_MAX_TERM_SYMBOLS */
  uint32_t symbols[EC_MAX_TERM_SYMBOLS]; /* indices into ec_dynamic.symbols */
} ec_term;

/* A number that symbols decide: floor(sum of terms / divisor), never negative. */
typedef struct ec_extent {
  const ec_term *terms;
  uint32_t term_count; /* 0: the number is 0 */
  uint32_t divisor;    /* at least 1 */
} ec_extent;

/* A number that the shapes of the inputs, or a call, decide. */
typedef struct ec_symbol {
  const char *name;
  int64_t minimum; /* at least 1 where an input gives the number */
  int64_t maximum;
  const ec_extent *derived; /* of other symbols, derived ones before it, and never more than
                               the maximum; NULL where an input or a call gives the number */
  uint32_t is_counted;      /* 1: one ec_count gives the number, else 0 */
  uint32_t reserved;        /* zero */
} ec_symbol;

/* A number that a call writes while the model runs: how many elements it found. The runtime
 * reads it when the call is finished, and refuses one that is out of the symbol's bounds with
 * EC_ERROR_COUNT; calls behind it have the sizes that follow from it. */
typedef struct ec_count {
  uint32_t symbol;   /* is_counted, derived NULL */
  uint32_t call;     /* strip 0, in no region */
  uint32_t tensor;   /* int64, 8 bytes, in the arena */
  uint32_t reserved; /* zero */
} ec_count;

/* What of a call differs from run to run; all zero for nothing. `items` of a call of the CPU
 * is one number: work items, at most the call's; with strides: repetitions. Of a kernel of a
 * device it is three: groups of work items in each dimension, at most the launch's; it does
 * not run where one of them is 0. Of a copy it is one: bytes of the tensor. */
typedef struct ec_dynamic_call {
  const ec_extent *items;
  const ec_extent *sizes;  /* int32_t each: in an array that is the kernel's last pointer; of a
                              kernel of a device, arguments behind the launch's constants */
  const uint64_t *strides; /* NULL, or bytes by which each pointer advances per repetition */
  uint32_t size_count;
  uint32_t reserved; /* zero */
} ec_dynamic_call;

/* Dimensions that differ from run to run. Shapes and bytes elsewhere are the largest. In an
 * input's shape every extent is constant, or one symbol times a factor. */
typedef struct ec_dynamic {
  const ec_symbol *symbols;
  const ec_dynamic_call *calls;    /* one for each call of the model */
  const ec_extent *const *inputs;  /* for each input `rank` extents, NULL where static */
  const ec_extent *const *outputs; /* the same */
  const ec_count *counts;          /* by call; one for each symbol that is counted */
  uint32_t symbol_count;
  uint32_t count_count;
} ec_dynamic;

typedef struct ec_model {
  uint32_t magic;        /* EC_MODEL_MAGIC */
  uint32_t abi_version;  /* EC_MODEL_ABI_VERSION */
  uint64_t struct_bytes; /* sizeof(ec_model) */
  const char *name;
  const char *target;
  const char *required_features; /* comma separated, as in the target file; checked at open */
  const ec_tensor *tensors;
  const ec_call *calls;
  const ec_port *inputs;
  const ec_port *outputs;
  uint32_t tensor_count;
  uint32_t call_count;
  uint32_t input_count;
  uint32_t output_count;
  uint64_t arena_bytes;
  uint64_t workspace_bytes;     /* per thread */
  uint64_t weights_bytes;       /* slack after the last tensor included */
  uint64_t weights_hash;        /* XXH3, 64 bits, seed 0, of the weights */
  const void *embedded_weights; /* 64-byte aligned, or NULL: given at open */
  const char *weights_file;     /* default name of the side file, beside the library */
  const ec_dynamic *dynamic;    /* NULL where every size is fixed */
  const ec_region *regions;
  const ec_program *programs;
  uint32_t region_count;
  uint32_t program_count;
  uint64_t reserved[2];            /* zero */
  const struct ec_model *cpu_plan; /* see below; NULL for none */
} ec_model;

/* A model with calls for devices may have a CPU plan beside its own: the same model in calls
 * of the CPU alone, for machines that lack a device or cannot use it. It has a descriptor of
 * its own, without a CPU plan, with the same inputs, outputs and weights. */

#ifdef __cplusplus
}
#endif
#endif /* EDGECOMP_MODEL_H */
