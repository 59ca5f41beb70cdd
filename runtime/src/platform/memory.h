/* Memory from the system: used to open a session, never afterwards. */
#ifndef EDGECOMP_SRC_PLATFORM_MEMORY_H
#define EDGECOMP_SRC_PLATFORM_MEMORY_H

#include <stddef.h>

/* `bytes` of memory aligned to `alignment` (a power of two, at least sizeof(void *)), or NULL.
 */
void *ec_memory_allocate(size_t bytes, size_t alignment);

/* Give back what ec_memory_allocate returned; NULL is allowed. */
void ec_memory_release(void *memory);

#endif /* EDGECOMP_SRC_PLATFORM_MEMORY_H */
