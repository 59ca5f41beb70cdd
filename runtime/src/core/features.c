#include "core/features.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "platform/cpu_features.h"

static const struct {
  char name[16];
  uint32_t bit;
} known_features[] = {
    {"avx2", EC_CPU_AVX2},
    {"fma", EC_CPU_FMA},
    {"avx512", EC_CPU_AVX512},
    {"avx512vnni", EC_CPU_AVX512VNNI},
    {"avxvnni", EC_CPU_AVXVNNI},
    {"neon", EC_CPU_NEON},
    {"vfp4", EC_CPU_VFP4},
    {"fp16", EC_CPU_FP16},
    {"dotprod", EC_CPU_DOTPROD},
    {"i8mm", EC_CPU_I8MM},
    {"avx512vpopcntdq", EC_CPU_AVX512VPOPCNTDQ},
};

/* Bit of a feature, 0 when there is none of that name. */
static uint32_t bit_of(const char *name, size_t length) {
  for (size_t i = 0; i < sizeof known_features / sizeof known_features[0]; ++i) {
    const char *known = known_features[i].name;
    if (strlen(known) == length && memcmp(known, name, length) == 0) {
      return known_features[i].bit;
    }
  }
  return 0;
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
