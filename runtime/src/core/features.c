#include "core/features.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "platform/cpu_features.h"

/* In the order of the bits of ec_cpu_feature. */
static const char known_features[] =
    "avx2 fma avx512 avx512vnni avxvnni neon vfp4 fp16 dotprod i8mm avx512vpopcntdq "
    "avx512vbmi";

/* Bit of a feature, 0 when there is none of that name. */
static uint32_t bit_of(const char *name, size_t length) {
  const char *known = known_features;
  for (uint32_t bit = EC_CPU_AVX2;; bit <<= 1) {
    size_t known_length = strcspn(known, " ");
    if (known_length == length && memcmp(known, name, length) == 0) {
      return bit;
    }
    if (known[known_length] == '\0') {
      return 0;
    }
    known += known_length + 1;
  }
}

size_t ec_feature_missing(const char *required, uint32_t available, const char **out_name) {
  const char *at = required;
  while (*at != '\0') {
    at += strspn(at, ", ");
    size_t length = strcspn(at, ", ");
    if (length != 0 && (bit_of(at, length) & available) == 0) {
      *out_name = at;
      return length;
    }
    at += length;
  }
  return 0;
}
