#include "device/cuda/cuda_driver.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/message.h"
#include "device/cuda/cu.h"
#include "device/cuda/cu_status.h"
#include "edgecomp/edgecomp.h"

/* Boards keep it where no loader looks. */
static const char *const libraries[] = {
    "libcuda.so.1",
    "libcuda.so",
    "/usr/lib/aarch64-linux-gnu/nvidia/libcuda.so.1",
    "/usr/lib/aarch64-linux-gnu/tegra/libcuda.so.1",
    "/usr/lib/wsl/lib/libcuda.so.1",
};

static void *open_library(void) {
  void *library = NULL;
  for (size_t i = 0; library == NULL && i < sizeof libraries / sizeof libraries[0]; ++i) {
    library = dlopen(libraries[i], RTLD_NOW | RTLD_LOCAL);
  }
  return library;
}

typedef struct named_function {
  const char *name;
  size_t offset; /* of its pointer in ec_cu_driver */
} named_function;

static const named_function functions[] = {
#define EC_CU_NAMED(name, parameters) {"cu" #name, offsetof(ec_cu_driver, name)},
    EC_CU_FUNCTIONS(EC_CU_NAMED)
#undef EC_CU_NAMED
};

/* The name of the first function that is missing, NULL for none. */
static const char *find_functions(void *library, ec_cu_driver *driver) {
  const char *missing = NULL;
  for (size_t i = 0; i < sizeof functions / sizeof functions[0]; ++i) {
    void *address = dlsym(library, functions[i].name);
    if (address == NULL && missing == NULL) {
      missing = functions[i].name;
    }
    /* C has no cast from an object's address to a function's. */
    memcpy((char *)driver + functions[i].offset, &address, sizeof address);
  }
  return missing;
}

static uint32_t version_of(const ec_cu_driver *driver) {
  int version = 0; /* 1000 * major + 10 * minor */
  if (driver->DriverGetVersion == NULL || driver->DriverGetVersion(&version) != CU_SUCCESS ||
      version < 0) {
    return 0;
  }
  return (uint32_t)version / 1000 * 100 + (uint32_t)version % 1000;
}

ec_status ec_cu_driver_load(ec_cu_driver *out_driver) {
  void *library = open_library();
  if (library == NULL) {
    return EC_FAIL(EC_ERROR_DEVICE_ABSENT,
                   "this system has no CUDA driver: no libcuda.so.1 can be loaded");
  }
  ec_cu_driver driver = {0};
  const char *missing = find_functions(library, &driver);
  driver.version = version_of(&driver);
  if (missing != NULL) {
    return EC_FAIL(EC_ERROR_DEVICE_FEATURE,
                   "the CUDA driver (%" PRIu32 ".%" PRIu32
                   ") has no %s: one of 11.4 or later is needed",
                   driver.version / 100, driver.version / 10 % 10, missing);
  }
  cu_result result = driver.Init(0);
  if (result != CU_SUCCESS) {
    return ec_cu_absent(&driver, result);
  }
  *out_driver = driver;
  return EC_OK;
}
