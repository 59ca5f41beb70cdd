/* Memory from the system: used to open a session, never afterwards. */
#ifndef EDGECOMP_SRC_PLATFORM_MEMORY_H
#define EDGECOMP_SRC_PLATFORM_MEMORY_H

#include <stddef.h>

/* `bytes` of memory aligned to `alignment` (a power of two, at least sizeof(void *)), or NULL.
 */
void *ec_memory_allocate(size_t bytes, size_t alignment);

/* Give back what ec_memory_allocate returned; NULL is allowed. */
void ec_memory_release(void *memory);

/* The same, zeroed, for what a session works in: on Linux 2 MiB and more are huge pages where
 * that wastes little, and pages that nobody touches are never taken. `alignment` is at most
 * 2 MiB. */
void *ec_memory_allocate_zeroed(size_t bytes, size_t alignment);

/* Give back the `bytes` that ec_memory_allocate_zeroed returned; NULL is allowed. */
void ec_memory_release_zeroed(void *memory, size_t bytes);

#endif /* EDGECOMP_SRC_PLATFORM_MEMORY_H */
