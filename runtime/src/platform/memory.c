#define _GNU_SOURCE /* posix_memalign under -std=c11 */
#include "platform/memory.h"

#include <stddef.h>
#include <stdlib.h>

/* posix_memalign rather than C11's aligned_alloc, which Android lacks before API 28. */
void *ec_memory_allocate(size_t bytes, size_t alignment) {
  void *memory = NULL;
  return posix_memalign(&memory, alignment, bytes) == 0 ? memory : NULL;
}

void ec_memory_release(void *memory) { free(memory); }
