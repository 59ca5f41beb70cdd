/* XXH64, the hash that guards weights. */
#ifndef EDGECOMP_SRC_CORE_XXH64_H
#define EDGECOMP_SRC_CORE_XXH64_H

#include <stdint.h>

/* XXH64 with seed 0 of `bytes` bytes at `data`, which may have any alignment (NULL if empty).
 * Meaning: the xxHash fast digest algorithm, specification 0.1.1. */
uint64_t ec_xxh64(const void *data, uint64_t bytes);

#endif /* EDGECOMP_SRC_CORE_XXH64_H */
