/* Sizes added and multiplied without wrapping around. */
#ifndef EDGECOMP_SRC_CORE_CHECKED_H
#define EDGECOMP_SRC_CORE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

/* Every tensor, and every part of a session's memory, starts at a multiple of this. */
#define EC_ALIGNMENT_BYTES 64u
/* Readable bytes after every tensor and workspace: kernels may load whole vectors at the end.
 */
#define EC_SLACK_BYTES 64u

/* False, leaving *out_sum alone, when a + b does not fit. */
static inline bool ec_add(uint64_t a, uint64_t b, uint64_t *out_sum) {
  if (b > UINT64_MAX - a) {
    return false;
  }
  *out_sum = a + b;
  return true;
}

/* False, leaving *out_product alone, when a * b does not fit. */
static inline bool ec_multiply(uint64_t a, uint64_t b, uint64_t *out_product) {
  if (a != 0 && b > UINT64_MAX / a) {
    return false;
  }
  *out_product = a * b;
  return true;
}

/* Round up to a multiple of EC_ALIGNMENT_BYTES; false when that does not fit. */
static inline bool ec_align(uint64_t bytes, uint64_t *out_aligned) {
  uint64_t sum = 0;
  if (!ec_add(bytes, EC_ALIGNMENT_BYTES - 1, &sum)) {
    return false;
  }
  *out_aligned = sum & ~(uint64_t)(EC_ALIGNMENT_BYTES - 1);
  return true;
}

static inline bool ec_is_aligned(const void *pointer) {
  return ((uintptr_t)pointer & (EC_ALIGNMENT_BYTES - 1)) == 0;
}

#endif /* EDGECOMP_SRC_CORE_CHECKED_H */
