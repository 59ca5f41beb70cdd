/* Memory of the device and pinned memory of the host: poisoned, with a guard behind it. */
#include <string.h>

#include "emulator.h"

enum { GUARD_BYTES = 64, POISON = 0xA5 };

typedef struct block {
  struct block *next;
  unsigned char *data;
  size_t bytes;
  bool is_host;
} block;

static block *blocks;

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

bool is_inside(const void *data, size_t bytes, bool is_host) {
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
