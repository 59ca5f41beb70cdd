#include "failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "edgecomp/edgecomp.h"

void fail(exit_code code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  (void)fputs("edgecomp_run: error: ", stderr);
  (void)vfprintf(stderr, format, arguments);
  (void)fputc('\n', stderr);
  va_end(arguments);
  exit((int)code);
}

static exit_code code_of(ec_status status) {
  switch (status) {
    case EC_OK:
      return EXIT_CODE_OK;
    case EC_ERROR_ARGUMENT:
    case EC_ERROR_INPUT_NAME:
    case EC_ERROR_INPUT_BYTES:
    case EC_ERROR_SHAPE:
    case EC_ERROR_COUNT:
    case EC_ERROR_ROUNDS:
    case EC_ERROR_BRANCH:
    case EC_ERROR_FILE:
      return EXIT_CODE_USAGE;
    case EC_ERROR_MEMORY_TOO_SMALL:
    case EC_ERROR_OUT_OF_MEMORY:
    case EC_ERROR_THREAD:
    case EC_ERROR_CPU_FEATURE:
    case EC_ERROR_DEVICE_ABSENT:
    case EC_ERROR_DEVICE:
    case EC_ERROR_DEVICE_FEATURE:
    case EC_ERROR_DEVICE_BUILD:
    case EC_ERROR_DEVICE_MEMORY:
    case EC_ERROR_DEVICE_LOST:
      return EXIT_CODE_DEVICE;
    case EC_ERROR_DESCRIPTOR:
    case EC_ERROR_VERSION:
    case EC_ERROR_WEIGHTS_BYTES:
    case EC_ERROR_WEIGHTS_HASH:
      return EXIT_CODE_VERSION;
  }
  return EXIT_CODE_DEVICE;
}

void require_ok(ec_status status) {
  if (status != EC_OK) {
    fail(code_of(status), "%s: %s", ec_status_name(status), ec_last_message());
  }
}
