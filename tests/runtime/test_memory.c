/* Memory given by the caller: every size below the needed one is refused, that one is enough.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "demo_model.h"
#include "edgecomp/edgecomp.h"
#include "platform/memory.h"
#include "session_helpers.h"

#define GUARD_BYTES 256

static void check_threads(uint32_t threads) {
  ec_open_options options = ec_open_options_default();
  options.threads = threads;
  uint64_t needed = 0;
  CHECK_STATUS(EC_OK, ec_session_memory(demo_model(), &options, &needed));
  CHECK_EQUAL(0, needed % 64);
  unsigned char *memory = ec_memory_allocate((size_t)needed + GUARD_BYTES, 64);
  CHECK(memory != NULL);
  memset(memory, 0xa5, (size_t)needed + GUARD_BYTES);
  ec_session *session = NULL;
  for (uint64_t bytes = 0; bytes < needed; ++bytes) {
    CHECK_STATUS(EC_ERROR_MEMORY_TOO_SMALL,
                 ec_session_init(demo_model(), &options, memory, bytes, &session));
    CHECK(session == NULL && memory[bytes] == 0xa5);
  }
  for (uint64_t shift = 1; shift < 64; ++shift) {
    CHECK_STATUS(EC_ERROR_MEMORY_TOO_SMALL,
                 ec_session_init(demo_model(), &options, memory + shift, needed, &session));
  }
  CHECK_MESSAGE("aligned");
  CHECK_STATUS(EC_OK, ec_session_init(demo_model(), &options, memory, needed, &session));
  run_and_compare(session, 1);
  CHECK(ec_session_model(session) == demo_model());
  ec_session_close(session);
  for (size_t i = 0; i < GUARD_BYTES; ++i) {
    CHECK_EQUAL(0xa5, memory[needed + i]);
  }
  ec_memory_release(memory);
  (void)printf("session memory of the demo, %u threads: %u bytes (arena %u)\n", threads,
               (unsigned)needed, (unsigned)demo_model()->arena_bytes);
}

/* Twice, so that the second time may get what the first has written to. */
static void check_zeroed(size_t bytes) {
  for (uint32_t time = 0; time < 2; ++time) {
    unsigned char *memory = ec_memory_allocate_zeroed(bytes, 64);
    CHECK(memory != NULL);
    CHECK_EQUAL(0, (uintptr_t)memory % 64);
    for (size_t i = 0; i < bytes; ++i) {
      CHECK(memory[i] == 0);
    }
    memset(memory, 0xa5, bytes);
    ec_memory_release_zeroed(memory, bytes);
  }
}

int main(void) {
  ec_memory_release_zeroed(NULL, 100);
  ec_memory_release_zeroed(NULL, (size_t)4 << 20);
  check_zeroed(64);
  check_zeroed(((size_t)2 << 20) - 1);
  check_zeroed((size_t)2 << 20);           /* whole huge pages, and ones */
  check_zeroed(((size_t)2 << 20) + 4096);  /* whose last is small ones, */
  check_zeroed(((size_t)7 << 20) + 12345); /* or huge and not filled */
  check_threads(1);
  check_threads(4);
  return 0;
}
