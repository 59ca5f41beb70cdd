#include "platform/cpu_features.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if !defined(__APPLE__)
static bool has_all(uint64_t word, uint64_t bits) { return (word & bits) == bits; }
#endif

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

/* Bits of XCR0: registers that the operating system saves on a task switch. */
#define STATE_YMM 0x6u
#define STATE_ZMM 0xe6u

static uint64_t saved_registers(void) {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return ((uint64_t)high << 32) | low;
}

/* Bits: Intel 64 Software Developer's Manual, volume 2A, CPUID leaves 1 and 7. */
uint32_t ec_cpu_features(void) {
  uint32_t a = 0;
  uint32_t b = 0;
  uint32_t c = 0;
  uint32_t d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !has_all(c, 1u << 27 /* OSXSAVE */)) {
    return 0;
  }
  uint64_t saved = saved_registers();
  if (!has_all(saved, STATE_YMM)) {
    return 0;
  }
  uint32_t found = has_all(c, 1u << 12) ? EC_CPU_FMA : 0u;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    return found;
  }
  uint32_t subleaves = a;
  found |= has_all(b, 1u << 5) ? EC_CPU_AVX2 : 0u;
  bool f_dq_bw_vl = has_all(b, 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31);
  if (f_dq_bw_vl && has_all(saved, STATE_ZMM)) {
    found |= EC_CPU_AVX512;
    found |= has_all(c, 1u << 11) ? EC_CPU_AVX512VNNI : 0u;
    found |= has_all(c, 1u << 14) ? EC_CPU_AVX512VPOPCNTDQ : 0u;
    found |= has_all(c, 1u << 1) ? EC_CPU_AVX512VBMI : 0u;
  }
  if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
    found |= has_all(a, 1u << 4) ? EC_CPU_AVXVNNI : 0u;
  }
  return found;
}

#elif defined(__APPLE__) && defined(__aarch64__)
#include <sys/sysctl.h>
#include <sys/types.h>

static uint32_t bit_if(const char *name, uint32_t bit) {
  int value = 0;
  size_t bytes = sizeof value;
  return sysctlbyname(name, &value, &bytes, NULL, 0) == 0 && value != 0 ? bit : 0u;
}

uint32_t ec_cpu_features(void) {
  return EC_CPU_NEON | EC_CPU_VFP4 | bit_if("hw.optional.arm.FEAT_FP16", EC_CPU_FP16) |
         bit_if("hw.optional.arm.FEAT_DotProd", EC_CPU_DOTPROD) |
         bit_if("hw.optional.arm.FEAT_I8MM", EC_CPU_I8MM);
}

#elif defined(__linux__) && defined(__aarch64__)
#include <sys/auxv.h>

/* Bits: Linux, Documentation/arch/arm64/elf_hwcaps.rst and its uapi header. */
uint32_t ec_cpu_features(void) {
  uint64_t first = getauxval(AT_HWCAP);
  uint64_t second = getauxval(AT_HWCAP2);
  uint32_t found = 0;
  found |= has_all(first, 1u << 1) ? (EC_CPU_NEON | EC_CPU_VFP4) : 0u;
  found |= has_all(first, 1u << 9 | 1u << 10) ? EC_CPU_FP16 : 0u; /* scalar and vector */
  found |= has_all(first, 1u << 20) ? EC_CPU_DOTPROD : 0u;
  found |= has_all(second, 1u << 13) ? EC_CPU_I8MM : 0u;
  return found;
}

#elif defined(__linux__) && defined(__arm__)
#include <sys/auxv.h>

/* Bits: Linux, arch/arm/include/uapi/asm/hwcap.h. */
uint32_t ec_cpu_features(void) {
  uint64_t first = getauxval(AT_HWCAP);
  uint32_t found = 0;
  found |= has_all(first, 1u << 12) ? EC_CPU_NEON : 0u;
  found |= has_all(first, 1u << 16) ? EC_CPU_VFP4 : 0u;
  return found;
}

#else

uint32_t ec_cpu_features(void) { return 0; }

#endif
