/* XXH3 with 64 bits, the hash that guards weights. */
#ifndef EDGECOMP_SRC_CORE_XXH3_H
#define EDGECOMP_SRC_CORE_XXH3_H

#include <stdint.h>

/* XXH3_64bits (seed 0, default secret) of `bytes` bytes at `data`, which may have any
 * alignment (NULL if empty). Meaning: the xxHash fast digest algorithm, specification 0.2.0.
 */
uint64_t ec_xxh3(const void *data, uint64_t bytes);

#endif /* EDGECOMP_SRC_CORE_XXH3_H */
