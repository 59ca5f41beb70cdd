#include "device/opencl/driver.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#include "core/message.h"
#include "device/opencl/cl.h"
#include "edgecomp/edgecomp.h"

/* The loader of installed drivers first; then names and places where phones keep the one they
 * have. A 32-bit process finds nothing that it can load in a folder of 64-bit libraries. */
static const char *const libraries[] = {
    "libOpenCL.so.1",
    "libOpenCL.so",
    "libOpenCL-pixel.so",
    "libGLES_mali.so",
    "libPVROCL.so",
    "/vendor/lib64/libOpenCL.so",
    "/vendor/lib/libOpenCL.so",
    "/system/vendor/lib64/libOpenCL.so",
    "/system/vendor/lib/libOpenCL.so",
    "/System/Library/Frameworks/OpenCL.framework/OpenCL",
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
  size_t offset; /* of its pointer in ec_cl_driver */
} named_function;

static const named_function functions[] = {
#define EC_CL_NAMED(name, result, parameters) {"cl" #name, offsetof(ec_cl_driver, name)},
    EC_CL_FUNCTIONS(EC_CL_NAMED)
#undef EC_CL_NAMED
};

ec_status ec_cl_driver_load(ec_cl_driver *out_driver) {
  void *library = open_library();
  if (library == NULL) {
    return EC_FAIL(EC_ERROR_DEVICE_ABSENT,
                   "this system has no OpenCL driver: no libOpenCL.so can be loaded");
  }
  ec_cl_driver driver;
  for (size_t i = 0; i < sizeof functions / sizeof functions[0]; ++i) {
    void *address = dlsym(library, functions[i].name);
    if (address == NULL) {
      return EC_FAIL(EC_ERROR_DEVICE_ABSENT, "the OpenCL driver has no %s", functions[i].name);
    }
    /* C has no cast from an object's address to a function's. */
    memcpy((char *)&driver + functions[i].offset, &address, sizeof address);
  }
  *out_driver = driver;
  return EC_OK;
}
