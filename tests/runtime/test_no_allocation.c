/* After open: no allocation, no mapping, no file. This program takes the place of the C
 * library's functions and counts. glibc only, where __libc_malloc and its kin are there. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "demo_model.h"
#include "edgecomp/edgecomp.h"
#include "session_helpers.h"

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *memory, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);
extern void __libc_free(void *memory);

static _Atomic uint32_t calls_counted;

static void count(void) { atomic_fetch_add(&calls_counted, 1); }

#pragma GCC visibility push(default)
void *malloc(size_t bytes) {
  count();
  return __libc_malloc(bytes);
}

void *calloc(size_t items, size_t bytes) {
  count();
  return __libc_calloc(items, bytes);
}

void *realloc(void *memory, size_t bytes) {
  count();
  return __libc_realloc(memory, bytes);
}

int posix_memalign(void **out_memory, size_t alignment, size_t bytes) {
  count();
  *out_memory = __libc_memalign(alignment, bytes);
  return *out_memory == NULL ? 12 : 0;
}

void free(void *memory) {
  count();
  __libc_free(memory);
}

int open(const char *path, int flags, ...) {
  count();
  return openat(AT_FDCWD, path, flags);
}
#pragma GCC visibility pop

static void check_runs(uint32_t threads) {
  ec_open_options options = ec_open_options_default();
  options.threads = threads;
  ec_session *session = NULL;
  uint32_t before_open = atomic_load(&calls_counted);
  CHECK_STATUS(EC_OK, ec_session_open(demo_model(), &options, &session));
  CHECK(atomic_load(&calls_counted) > before_open); /* the counting works */
  ec_call_profile profiles[DEMO_CALLS] = {{0}};
  uint32_t before = atomic_load(&calls_counted);
  for (uint32_t run = 0; run < 1000; ++run) {
    run_and_compare(session, run);
    CHECK_STATUS(EC_OK, ec_session_run_profiled(session, profiles, DEMO_CALLS));
  }
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_run_prefix(session, 99)); /* nor for a message */
  uint32_t spent = atomic_load(&calls_counted) - before;
  (void)printf("%u threads: %u allocations in 2000 inferences\n", threads, spent);
  CHECK_EQUAL(0, spent);
  ec_session_close(session);
}

int main(void) {
  check_runs(1);
  check_runs(2);
  return 0;
}
