#include "device/opencl/program.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/checked.h"
#include "core/message.h"
#include "core/xxh3.h"
#include "device/opencl/choose.h"
#include "device/opencl/cl.h"
#include "device/opencl/cl_status.h"
#include "device/opencl/driver.h"
#include "device/opencl/program_cache.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "platform/file_map.h"
#include "platform/memory.h"

typedef struct build {
  const ec_cl_driver *driver;
  cl_context context;
  const ec_cl_device *device;
  const ec_program *program;
  const char *options;
} build;

/* Compilers that are not asked for OpenCL C 3.0 compile 1.2, in which they have no dot product
 * of words of bytes: those of kernels that look for it are asked. */
static const char *options_of(const ec_cl_device *device, const ec_program *program) {
  bool has_dots = strstr(program->text, "cl_khr_integer_dot_product") != NULL;
  return has_dots && device->has_dots_in_c3 && program->options[0] == '\0' ? "-cl-std=CL3.0"
                                                                           : program->options;
}

/* Everything that decides what the driver makes of the text. */
static uint64_t key_of(const build *of) {
  const uint64_t parts[] = {
      ec_xxh3(of->program->text, of->program->text_bytes),
      ec_xxh3(of->options, strlen(of->options)),
      ec_xxh3(of->device->name, strlen(of->device->name)),
      ec_xxh3(of->device->driver, strlen(of->device->driver)),
  };
  return ec_xxh3(parts, sizeof parts);
}

static cl_int compile(const build *of, cl_program program) {
  return of->driver->BuildProgram(program, 1, &of->device->id, of->options, NULL, NULL);
}

/* What the compiler says, in memory that the caller releases; NULL where there is nothing. */
static char *read_log(const build *of, cl_program program) {
  size_t bytes = 0;
  cl_int result = of->driver->GetProgramBuildInfo(program, of->device->id,
                                                  CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes);
  char *log = result == CL_SUCCESS && bytes != 0
                  ? ec_memory_allocate(bytes, EC_ALIGNMENT_BYTES)
                  : NULL;
  if (log != NULL) {
    log[0] = '\0';
    (void)of->driver->GetProgramBuildInfo(program, of->device->id, CL_PROGRAM_BUILD_LOG, bytes,
                                          log, NULL);
    log[bytes - 1] = '\0';
  }
  return log;
}

static ec_status build_failure(const build *of, cl_program program, cl_int result) {
  char *log = read_log(of, program);
  ec_status status = EC_FAIL(EC_ERROR_DEVICE_BUILD,
                             "the driver of OpenCL device '%s' does not compile the kernels "
                             "(%d): %s",
                             of->device->name, (int)result, log != NULL ? log : "");
  ec_memory_release(log);
  return status;
}

static bool load_kept(const build *of, const char *folder, uint64_t key,
                      cl_program *out_program) {
  ec_file_map map;
  const unsigned char *binary = NULL;
  size_t bytes = 0;
  if (!ec_cl_cache_find(folder, key, &map, &binary, &bytes)) {
    return false;
  }
  cl_int taken = CL_SUCCESS;
  cl_int result = CL_SUCCESS;
  cl_program program = of->driver->CreateProgramWithBinary(of->context, 1, &of->device->id,
                                                           &bytes, &binary, &taken, &result);
  bool is_good = program != NULL && result == CL_SUCCESS && taken == CL_SUCCESS &&
                 compile(of, program) == CL_SUCCESS;
  if (!is_good && program != NULL) {
    (void)of->driver->ReleaseProgram(program);
  }
  ec_file_map_close(&map);
  if (is_good) {
    *out_program = program;
  }
  return is_good;
}

static void keep(const build *of, const char *folder, uint64_t key, cl_program program) {
  size_t bytes = 0;
  if (of->driver->GetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes,
                                 NULL) != CL_SUCCESS ||
      bytes == 0) {
    return;
  }
  unsigned char *binary = ec_memory_allocate(bytes, EC_ALIGNMENT_BYTES);
  if (binary != NULL && of->driver->GetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary,
                                                   &binary, NULL) == CL_SUCCESS) {
    ec_cl_cache_keep(folder, key, binary, bytes);
  }
  ec_memory_release(binary);
}

ec_status ec_cl_build(const ec_cl_driver *driver, cl_context context,
                      const ec_cl_device *device, const ec_program *program,
                      const char *cache_folder, cl_program *out_program) {
  build of = {driver, context, device, program, options_of(device, program)};
  uint64_t key = cache_folder != NULL ? key_of(&of) : 0;
  if (cache_folder != NULL && load_kept(&of, cache_folder, key, out_program)) {
    return EC_OK;
  }
  const char *text = program->text;
  size_t bytes = (size_t)program->text_bytes;
  cl_int result = CL_SUCCESS;
  cl_program made = driver->CreateProgramWithSource(context, 1, &text, &bytes, &result);
  if (made == NULL || result != CL_SUCCESS) {
    return ec_cl_status(result, "take the source of", "kernels");
  }
  result = compile(&of, made);
  if (result != CL_SUCCESS) {
    ec_status status = build_failure(&of, made, result);
    (void)driver->ReleaseProgram(made);
    return status;
  }
  if (cache_folder != NULL) {
    keep(&of, cache_folder, key, made);
  }
  *out_program = made;
  return EC_OK;
}
