/* The device, its contexts, and what it is like. */
#include "emulator.h"

#include <string.h>

struct CUctx_st {
  cu_result lost;
};

struct emulator_options is;
struct emulator_events seen;
static bool is_configured;
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

cu_result in_context(void) {
  CHECK(depth != 0); /* calls want a current context */
  return outcome();
}

void *made(size_t bytes) {
  void *memory = calloc(1, bytes);
  CHECK(memory != NULL);
  seen.live += 1;
  return memory;
}

cu_result ended(void) {
  CHECK(seen.live != 0);
  seen.live -= 1;
  return CU_SUCCESS;
}

cu_result given_back(void *memory) {
  free(memory);
  return ended();
}

cu_context current_context(void) {
  CHECK(depth != 0);
  return stack[depth - 1];
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
  seen = (struct emulator_events){.live = seen.live, .used = seen.used};
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
EXPORT unsigned ec_emulator_alone(void) { return seen.alone; }
EXPORT unsigned ec_emulator_instances(void) { return seen.instances; }
EXPORT unsigned ec_emulator_updates(void) { return seen.updates; }

static void report(void) {
  FILE *file = is.report[0] != '\0' ? fopen(is.report, "w") : NULL;
  if (file != NULL) {
    (void)fprintf(file, "live %u calls %u graphs %u launches %u alone %u\n", seen.live,
                  seen.calls, seen.graphs, seen.launches, seen.alone);
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
