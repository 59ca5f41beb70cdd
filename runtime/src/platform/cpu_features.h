/* What instruction sets the processor offers. */
#ifndef EDGECOMP_SRC_PLATFORM_CPU_FEATURES_H
#define EDGECOMP_SRC_PLATFORM_CPU_FEATURES_H

#include <stdint.h>

/* One bit each; the names in the target files are the same in lower case without the prefix.
 */
typedef enum ec_cpu_feature {
  EC_CPU_AVX2 = 1 << 0,
  EC_CPU_FMA = 1 << 1,
  EC_CPU_AVX512 = 1 << 2, /* F, BW, DQ and VL together */
  EC_CPU_AVX512VNNI = 1 << 3,
  EC_CPU_AVXVNNI = 1 << 4,
  EC_CPU_NEON = 1 << 5,
  EC_CPU_VFP4 = 1 << 6, /* fused multiply-add on armv7; part of every aarch64 */
  EC_CPU_FP16 = 1 << 7,
  EC_CPU_DOTPROD = 1 << 8,
  EC_CPU_I8MM = 1 << 9,
  EC_CPU_AVX512VPOPCNTDQ = 1 << 10,
  EC_CPU_AVX512VBMI = 1 << 11
} ec_cpu_feature;

/* The features that the processor has and the operating system keeps registers for. */
uint32_t ec_cpu_features(void);

#endif /* EDGECOMP_SRC_PLATFORM_CPU_FEATURES_H */
