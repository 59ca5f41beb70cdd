/* Modules and the functions in them. */
#include <dlfcn.h>
#include <string.h>

#include "emulator.h"

enum { NOT_FOUND = 500 };

struct CUmod_st {
  struct CUctx_st *context;
};
static struct CUfunc_st *functions;

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
