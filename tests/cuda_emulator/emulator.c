/* A driver of CUDA without a device: built as libcuda.so.1, it runs kernels that were compiled
 * for the CPU (cuda_on_cpu.h), and fails when it is told to.
 *
 * It is stricter than a driver. What is given to a stream runs when the stream is waited for,
 * so that results which are read too early are not there. Copies want pinned memory; every
 * call wants its context; memory is poisoned, and what lies behind it is checked when it is
 * given back. The environment's EC_EMULATOR, or ec_emulator_configure, says what it is like:
 *
 *   version=13000      of the driver
 *   capability=90      of the device
 *   devices=1          how many
 *   memory=BYTES       that the device has
 *   threads=1024       most of a block
 *   kernels=PATH       a library of kernels
 *   jit=TEXT           modules are refused with this log
 *   load=NUMBER        modules are refused with this result
 *   init=NUMBER        what cuInit says
 *   fail_at=N          the call of this number that can fail does,
 *   fail_with=NUMBER   with this result; after those of a lost device all calls of its context
 * do report=PATH        what is left when the process ends, as "live LIVE calls CALLS graphs
 * N"
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/cuda/cu.h"

#define CHECK(condition)                                                                     \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      (void)fprintf(stderr, "CUDA emulator, line %d: not true: %s\n", __LINE__, #condition); \
      abort();                                                                               \
    }                                                                                        \
  } while (0)

#define EXPORT __attribute__((visibility("default")))

enum {
  MOST_ARGUMENTS = 32,
  GUARD_BYTES = 64,
  POISON = 0xA5,
  NOT_FOUND = 500,
  IN_CAPTURE = 900
};

/* As cuda_on_cpu.h writes it. */
typedef struct kernel {
  const char *name;
  void (*call)(void **arguments);
  int parameters;
  int has_barriers;
  const unsigned char *parameter_bytes;
} kernel;
typedef void (*emulate)(const kernel *, const unsigned[3], const unsigned[3], void **);

typedef struct block {
  struct block *next;
  unsigned char *data;
  size_t bytes;
  bool is_host;
} block;

struct CUctx_st {
  cu_result lost;
};
struct CUmod_st {
  struct CUctx_st *context;
};
struct CUfunc_st {
  const kernel *of;
  emulate run;
  struct CUfunc_st *next;
};
struct CUevent_st {
  int recorded;
};

typedef enum kind { RUN, COPY } kind;
typedef struct step {
  struct step *next;
  kind kind;
  struct CUfunc_st *function;
  unsigned grid[3];
  unsigned block[3];
  uint64_t arguments[MOST_ARGUMENTS];
  void *to;
  const void *from;
  size_t bytes;
} step;

struct CUgraph_st {
  step *first;
};
struct CUgraphExec_st {
  step *first;
};
struct CUstream_st {
  step *first;
  bool is_capturing;
};

static struct {
  int version, capability, devices, threads;
  cu_result init, load, fail_with;
  unsigned fail_at;
  size_t memory;
  char kernels[4096], jit[256], report[1024];
} is;
static struct {
  unsigned live, calls, graphs, launches;
  size_t used;
} seen;
static bool is_configured;
static block *blocks;
static struct CUfunc_st *functions;
static struct CUctx_st *stack[8];
static unsigned depth;

static bool is_loss(cu_result result) {
  return result == CU_ILLEGAL_ADDRESS || result == CU_LAUNCH_FAILED ||
         result == CU_ECC_UNCORRECTABLE || result == CU_LAUNCH_TIMEOUT;
}

/* Of a call that can fail. */
static cu_result outcome(void) {
  if (depth != 0 && stack[depth - 1]->lost != CU_SUCCESS) {
    return stack[depth - 1]->lost;
  }
  seen.calls += 1;
  if (seen.calls != is.fail_at) {
    return CU_SUCCESS;
  }
  if (is_loss(is.fail_with) && depth != 0) {
    stack[depth - 1]->lost = is.fail_with;
  }
  return is.fail_with;
}

static cu_result in_context(void) {
  CHECK(depth != 0); /* calls want a current context */
  return outcome();
}

static void *made(size_t bytes) {
  void *memory = calloc(1, bytes);
  CHECK(memory != NULL);
  seen.live += 1;
  return memory;
}

static cu_result given_back(void *memory) {
  CHECK(seen.live != 0);
  seen.live -= 1;
  free(memory);
  return CU_SUCCESS;
}

static void configure_one(const char *name, const char *value) {
  unsigned long number = strtoul(value, NULL, 0);
  const struct {
    const char *name;
    int *place;
  } ints[] = {{"version", &is.version},
              {"capability", &is.capability},
              {"devices", &is.devices},
              {"threads", &is.threads}};
  for (size_t i = 0; i < sizeof ints / sizeof ints[0]; ++i) {
    if (strcmp(name, ints[i].name) == 0) {
      *ints[i].place = (int)number;
      return;
    }
  }
  if (strcmp(name, "init") == 0) {
    is.init = (cu_result)number;
  } else if (strcmp(name, "load") == 0) {
    is.load = (cu_result)number;
  } else if (strcmp(name, "fail_with") == 0) {
    is.fail_with = (cu_result)number;
  } else if (strcmp(name, "fail_at") == 0) {
    is.fail_at = (unsigned)number;
  } else if (strcmp(name, "memory") == 0) {
    is.memory = number;
  } else if (strcmp(name, "kernels") == 0) {
    (void)snprintf(is.kernels, sizeof is.kernels, "%s", value);
  } else if (strcmp(name, "jit") == 0) {
    (void)snprintf(is.jit, sizeof is.jit, "%s", value);
  } else {
    CHECK(strcmp(name, "report") == 0);
    (void)snprintf(is.report, sizeof is.report, "%s", value);
  }
}

/* "name=value;name=value"; everything else is as at the beginning, and nothing has happened.
 */
EXPORT void ec_emulator_configure(const char *text) {
  char copy[8192];
  memset(&is, 0, sizeof is);
  is.version = 13000;
  is.capability = 90;
  is.devices = 1;
  is.threads = 1024;
  is.memory = (size_t)8 << 30;
  seen.calls = seen.graphs = seen.launches = 0;
  is_configured = true;
  CHECK(snprintf(copy, sizeof copy, "%s", text) < (int)sizeof copy);
  for (char *at = copy; *at != '\0';) {
    size_t length = strcspn(at, ";");
    char *next = at + length + (at[length] != '\0');
    at[length] = '\0';
    char *value = strchr(at, '=');
    CHECK(value != NULL);
    *value = '\0';
    configure_one(at, value + 1);
    at = next;
  }
}

EXPORT unsigned ec_emulator_live(void) { return seen.live; }
EXPORT unsigned ec_emulator_calls(void) { return seen.calls; }
EXPORT unsigned ec_emulator_graphs(void) { return seen.graphs; }
EXPORT unsigned ec_emulator_launches(void) { return seen.launches; }

static void report(void) {
  FILE *file = is.report[0] != '\0' ? fopen(is.report, "w") : NULL;
  if (file != NULL) {
    (void)fprintf(file, "live %u calls %u graphs %u launches %u\n", seen.live, seen.calls,
                  seen.graphs, seen.launches);
    (void)fclose(file);
  }
}

static void configure(void) {
  const char *text = getenv("EC_EMULATOR");
  if (!is_configured) {
    ec_emulator_configure(text != NULL ? text : "");
    (void)atexit(report);
  }
}

EXPORT cu_result cuInit(unsigned flags) {
  CHECK(flags == 0);
  configure();
  return is.init;
}

EXPORT cu_result cuDriverGetVersion(int *out) {
  configure();
  *out = is.version;
  return CU_SUCCESS;
}

EXPORT cu_result cuGetErrorName(cu_result result, const char **out) {
  *out = result == CU_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OTHER";
  return CU_SUCCESS;
}

EXPORT cu_result cuDeviceGetCount(int *out) {
  *out = is.devices;
  return CU_SUCCESS;
}

EXPORT cu_result cuDeviceGet(cu_device *out, int number) {
  CHECK(number < is.devices);
  *out = number;
  return CU_SUCCESS;
}

EXPORT cu_result cuDeviceGetName(char *out, int room, cu_device device) {
  CHECK(snprintf(out, (size_t)room, "Emulated GPU %d", device) < room);
  return CU_SUCCESS;
}

EXPORT cu_result cuDeviceGetAttribute(int *out, unsigned what, cu_device device) {
  (void)device;
  static const int limits[] = {1024, 1024, 64, INT32_MAX, 65535, 65535}; /* from 2 on */
  if (what >= CU_DEVICE_MAX_BLOCK_DIM_X && what < CU_DEVICE_MAX_BLOCK_DIM_X + 6) {
    *out = limits[what - CU_DEVICE_MAX_BLOCK_DIM_X];
  } else {
    CHECK(what == CU_DEVICE_MAJOR || what == CU_DEVICE_MINOR);
    *out = what == CU_DEVICE_MAJOR ? is.capability / 10 : is.capability % 10;
  }
  return CU_SUCCESS;
}

EXPORT cu_result cuDeviceTotalMem_v2(size_t *out, cu_device device) {
  (void)device;
  *out = is.memory;
  return CU_SUCCESS;
}

EXPORT cu_result cuCtxCreate_v2(cu_context *out, unsigned flags, cu_device device) {
  (void)device;
  CHECK(flags == 0 && depth < 8);
  cu_result result = outcome();
  if (result == CU_SUCCESS) {
    *out = stack[depth++] = made(sizeof **out);
  }
  return result;
}

EXPORT cu_result cuCtxDestroy_v2(cu_context context) {
  for (unsigned i = 0; i < depth; ++i) {
    CHECK(stack[i] != context);
  }
  return given_back(context);
}

EXPORT cu_result cuCtxPushCurrent_v2(cu_context context) {
  CHECK(depth < 8 && context != NULL);
  stack[depth++] = context;
  return CU_SUCCESS;
}

EXPORT cu_result cuCtxPopCurrent_v2(cu_context *out) {
  CHECK(depth != 0);
  *out = stack[--depth];
  return CU_SUCCESS;
}

static cu_result allocate(size_t bytes, bool is_host, void **out) {
  cu_result result = in_context();
  if (result == CU_SUCCESS && !is_host && bytes > is.memory - seen.used) {
    result = CU_OUT_OF_MEMORY;
  }
  if (result != CU_SUCCESS) {
    return result;
  }
  CHECK(bytes != 0);
  block *of = made(sizeof *of);
  size_t whole = (bytes + GUARD_BYTES + 255) / 256 * 256;
  of->data = aligned_alloc(256, whole);
  CHECK(of->data != NULL);
  memset(of->data, POISON, whole);
  of->bytes = bytes;
  of->is_host = is_host;
  of->next = blocks;
  blocks = of;
  seen.used += is_host ? 0 : bytes;
  *out = of->data;
  return CU_SUCCESS;
}

static cu_result deallocate(const void *data, bool is_host) {
  block **at = &blocks;
  while (*at != NULL && (*at)->data != data) {
    at = &(*at)->next;
  }
  block *of = *at;
  CHECK(of != NULL && of->is_host == is_host);
  for (size_t i = 0; i < GUARD_BYTES; ++i) {
    CHECK(of->data[of->bytes + i] == POISON); /* nothing was written behind it */
  }
  *at = of->next;
  seen.used -= is_host ? 0 : of->bytes;
  free(of->data);
  return given_back(of);
}

/* Whether a range is in one block of the right kind. */
static bool is_inside(const void *data, size_t bytes, bool is_host) {
  const unsigned char *first = data;
  for (const block *of = blocks; of != NULL; of = of->next) {
    if (of->is_host == is_host && first >= of->data && first + bytes <= of->data + of->bytes) {
      return true;
    }
  }
  return false;
}

EXPORT cu_result cuMemAlloc_v2(cu_address *out, size_t bytes) {
  void *data = NULL;
  cu_result result = allocate(bytes, false, &data);
  *out = (cu_address)(uintptr_t)data;
  return result;
}

EXPORT cu_result cuMemFree_v2(cu_address address) {
  return deallocate((void *)(uintptr_t)address, false);
}

EXPORT cu_result cuMemHostAlloc(void **out, size_t bytes, unsigned flags) {
  CHECK(flags == 0);
  return allocate(bytes, true, out);
}

EXPORT cu_result cuMemFreeHost(void *data) { return deallocate(data, true); }

EXPORT cu_result cuMemcpyHtoD_v2(cu_address to, const void *from, size_t bytes) {
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    CHECK(is_inside((void *)(uintptr_t)to, bytes, false));
    memcpy((void *)(uintptr_t)to, from, bytes);
  }
  return result;
}

EXPORT cu_result cuMemcpyDtoH_v2(void *to, cu_address from, size_t bytes) {
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    CHECK(is_inside((void *)(uintptr_t)from, bytes, false));
    memcpy(to, (void *)(uintptr_t)from, bytes);
  }
  return result;
}

static void append(step **list, const step *what) {
  while (*list != NULL) {
    list = &(*list)->next;
  }
  *list = malloc(sizeof **list);
  CHECK(*list != NULL);
  **list = *what;
  (*list)->next = NULL;
}

static void drop(step **list) {
  while (*list != NULL) {
    step *first = *list;
    *list = first->next;
    free(first);
  }
}

static cu_result copy_later(cu_stream stream, void *to, const void *from, size_t bytes) {
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    step what = {.kind = COPY, .to = to, .from = from, .bytes = bytes};
    append(&stream->first, &what);
  }
  return result;
}

EXPORT cu_result cuMemcpyHtoDAsync_v2(cu_address to, const void *from, size_t bytes,
                                      cu_stream stream) {
  CHECK(is_inside(from, bytes, true) && is_inside((void *)(uintptr_t)to, bytes, false));
  return copy_later(stream, (void *)(uintptr_t)to, from, bytes);
}

EXPORT cu_result cuMemcpyDtoHAsync_v2(void *to, cu_address from, size_t bytes,
                                      cu_stream stream) {
  CHECK(is_inside(to, bytes, true) && is_inside((void *)(uintptr_t)from, bytes, false));
  return copy_later(stream, to, (void *)(uintptr_t)from, bytes);
}

/* Bytes that begin a fat binary, a cubin, or PTX. */
static bool is_image(const unsigned char *image) {
  static const unsigned char fat[] = {0x50, 0xED, 0x55, 0xBA};
  return memcmp(image, fat, sizeof fat) == 0 || memcmp(image, "\177ELF", 4) == 0 ||
         memcmp(image, "//", 2) == 0 || memcmp(image, ".ver", 4) == 0;
}

EXPORT cu_result cuModuleLoadDataEx(cu_module *out, const void *image, unsigned count,
                                    unsigned *options, void **values) {
  CHECK((uintptr_t)image % 8 == 0);
  CHECK(count == 2 && options[0] == CU_JIT_ERROR_LOG && options[1] == CU_JIT_ERROR_LOG_BYTES);
  cu_result result = in_context();
  if (result == CU_SUCCESS && is.jit[0] != '\0') {
    (void)snprintf(values[0], (size_t)(uintptr_t)values[1], "%s", is.jit);
    return CU_INVALID_PTX;
  }
  if (result == CU_SUCCESS && is.load != CU_SUCCESS) {
    return is.load;
  }
  if (result == CU_SUCCESS && !is_image(image)) {
    return CU_INVALID_IMAGE;
  }
  if (result == CU_SUCCESS) {
    *out = made(sizeof **out);
  }
  return result;
}

EXPORT cu_result cuModuleUnload(cu_module module) { return given_back(module); }

/* t[i] = x[i] * w[i] + plus, with one thread for each element: a kernel for tests in C. */
static void scale(const kernel *of, const unsigned grid[3], const unsigned size[3],
                  void **arguments) {
  (void)of;
  const float *x = *(float **)arguments[0];
  const float *w = *(float **)arguments[1];
  float *t = *(float **)arguments[2];
  for (unsigned i = 0; i < grid[0] * size[0]; ++i) {
    t[i] = x[i] * w[i] + (float)*(int *)arguments[3];
  }
}
static const unsigned char scale_bytes[] = {8, 8, 8, 4};
static const kernel scale_kernel = {"ec_test_scale", NULL, 4, 0, scale_bytes};

static const kernel *find_in_library(const char *name, emulate *out_run) {
  void *library = is.kernels[0] != '\0' ? dlopen(is.kernels, RTLD_NOW | RTLD_LOCAL) : NULL;
  const kernel *table = library != NULL ? dlsym(library, "ec_emulated_kernels") : NULL;
  for (; table != NULL && table->name[0] != '\0'; ++table) {
    if (strcmp(table->name, name) == 0) {
      void *address = dlsym(library, "ec_emulate");
      memcpy(out_run, &address, sizeof address);
      return table;
    }
  }
  if (is.kernels[0] != '\0' && library == NULL) {
    (void)fprintf(stderr, "CUDA emulator: %s\n", dlerror());
  }
  return NULL;
}

EXPORT cu_result cuModuleGetFunction(cu_function *out, cu_module module, const char *name) {
  CHECK(module != NULL);
  cu_result result = in_context();
  if (result != CU_SUCCESS) {
    return result;
  }
  emulate run = scale;
  const kernel *of =
      strcmp(name, "ec_test_scale") == 0 ? &scale_kernel : find_in_library(name, &run);
  if (of == NULL) {
    return NOT_FOUND;
  }
  struct CUfunc_st *function = malloc(sizeof *function); /* as long as the process */
  CHECK(function != NULL);
  *function = (struct CUfunc_st){of, run, functions};
  functions = function;
  *out = function;
  return CU_SUCCESS;
}

EXPORT cu_result cuFuncGetAttribute(int *out, unsigned what, cu_function function) {
  CHECK(what == CU_FUNCTION_MAX_THREADS_PER_BLOCK && function != NULL);
  *out = is.threads;
  return in_context();
}

EXPORT cu_result cuLaunchKernel(cu_function function, unsigned gx, unsigned gy, unsigned gz,
                                unsigned bx, unsigned by, unsigned bz, unsigned shared_bytes,
                                cu_stream stream, void **arguments, void **extra) {
  CHECK(shared_bytes == 0 && extra == NULL);
  CHECK(gx != 0 && gy != 0 && gz != 0 && gy <= 65535 && gz <= 65535);
  CHECK(bx != 0 && by != 0 && bz != 0 && bx * by * bz <= (unsigned)is.threads);
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    step what = {
        .kind = RUN, .function = function, .grid = {gx, gy, gz}, .block = {bx, by, bz}};
    CHECK(function->of->parameters <= MOST_ARGUMENTS);
    for (int i = 0; i < function->of->parameters; ++i) {
      memcpy(&what.arguments[i], arguments[i], function->of->parameter_bytes[i]);
      CHECK(function->of->parameter_bytes[i] != 8 ||
            is_inside((void *)(uintptr_t)what.arguments[i], 1, false));
    }
    append(&stream->first, &what);
  }
  return result;
}

static void run(step *of) {
  void *given[MOST_ARGUMENTS];
  if (of->kind == COPY) {
    memcpy(of->to, of->from, of->bytes);
    return;
  }
  for (int i = 0; i < of->function->of->parameters; ++i) {
    given[i] = &of->arguments[i];
  }
  seen.launches += 1;
  of->function->run(of->function->of, of->grid, of->block, given);
}

EXPORT cu_result cuStreamCreate(cu_stream *out, unsigned flags) {
  CHECK(flags == CU_STREAM_NON_BLOCKING);
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    *out = made(sizeof **out);
  }
  return result;
}

EXPORT cu_result cuStreamDestroy_v2(cu_stream stream) {
  drop(&stream->first);
  return given_back(stream);
}

EXPORT cu_result cuStreamSynchronize(cu_stream stream) {
  if (stream == NULL) { /* the one of synchronous copies */
    return in_context();
  }
  if (stream->is_capturing) {
    return IN_CAPTURE;
  }
  cu_result result = in_context();
  for (step *at = stream->first; result == CU_SUCCESS && at != NULL; at = at->next) {
    run(at);
  }
  drop(&stream->first);
  return result;
}

EXPORT cu_result cuStreamBeginCapture_v2(cu_stream stream, unsigned mode) {
  CHECK(mode == CU_CAPTURE_RELAXED && !stream->is_capturing);
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    for (step *at = stream->first; at != NULL; at = at->next) {
      run(at);
    }
    drop(&stream->first);
    stream->is_capturing = true;
  }
  return result;
}

EXPORT cu_result cuStreamEndCapture(cu_stream stream, cu_graph *out) {
  CHECK(stream->is_capturing);
  stream->is_capturing = false;
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    *out = made(sizeof **out);
    (*out)->first = stream->first;
    stream->first = NULL;
  } else {
    drop(&stream->first);
  }
  return result;
}

EXPORT cu_result cuGraphInstantiateWithFlags(cu_graph_run *out, cu_graph graph,
                                             unsigned long long flags) {
  CHECK(flags == 0);
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    *out = made(sizeof **out);
    for (step *at = graph->first; at != NULL; at = at->next) {
      append(&(*out)->first, at);
    }
  }
  return result;
}

EXPORT cu_result cuGraphUpload(cu_graph_run graph, cu_stream stream) {
  (void)graph;
  (void)stream;
  return in_context();
}

EXPORT cu_result cuGraphLaunch(cu_graph_run graph, cu_stream stream) {
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    seen.graphs += 1;
    for (step *at = graph->first; at != NULL; at = at->next) {
      append(&stream->first, at);
    }
  }
  return result;
}

EXPORT cu_result cuGraphExecDestroy(cu_graph_run graph) {
  drop(&graph->first);
  return given_back(graph);
}

EXPORT cu_result cuGraphDestroy(cu_graph graph) {
  drop(&graph->first);
  return given_back(graph);
}

EXPORT cu_result cuEventCreate(cu_event *out, unsigned flags) {
  CHECK(flags == 0);
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    *out = made(sizeof **out);
  }
  return result;
}

EXPORT cu_result cuEventDestroy_v2(cu_event event) { return given_back(event); }

EXPORT cu_result cuEventRecord(cu_event event, cu_stream stream) {
  CHECK(!stream->is_capturing);
  event->recorded = 1;
  return in_context();
}

EXPORT cu_result cuEventElapsedTime(float *out, cu_event begin, cu_event end) {
  CHECK(begin->recorded && end->recorded);
  *out = 0.0005f; /* milliseconds */
  return in_context();
}
