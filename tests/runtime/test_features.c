/* Required processor features: parsed, and looked for. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "core/features.h"
#include "demo_model.h"
#include "platform/cpu_features.h"

static void check_missing(const char *required, uint32_t available, const char *expected) {
  const char *name = "";
  size_t length = ec_feature_missing(required, available, &name);
  CHECK_EQUAL(strlen(expected), length);
  CHECK(memcmp(expected, name, length) == 0);
}

static void test_parsing(void) {
  check_missing("", 0, "");
  check_missing(",, ", 0, "");
  check_missing("neon", 0, "neon");
  check_missing("neon", EC_CPU_NEON, "");
  check_missing("neon,dotprod", EC_CPU_NEON, "dotprod");
  check_missing(" avx2 , fma,avx512,avx512vnni", EC_CPU_AVX2 | EC_CPU_FMA | EC_CPU_AVX512VNNI,
                "avx512");
  check_missing("avx", UINT32_MAX, "avx"); /* a beginning of a name is not the name */
  check_missing("avx2x", UINT32_MAX, "avx2x");
  check_missing(
      "avx2,fma,avx512,avx512vnni,avxvnni,neon,vfp4,fp16,dotprod,i8mm,"
      "avx512vpopcntdq,avx512vbmi",
      UINT32_MAX, "");
}

static void test_this_processor(void) {
  uint32_t found = ec_cpu_features();
#if defined(__aarch64__)
  CHECK((found & EC_CPU_NEON) != 0); /* part of the architecture */
#elif defined(__arm__)
  CHECK((found & (EC_CPU_AVX2 | EC_CPU_DOTPROD)) == 0);
#elif defined(__x86_64__)
  __builtin_cpu_init();
  CHECK_EQUAL(__builtin_cpu_supports("avx2") != 0, (found & EC_CPU_AVX2) != 0);
  CHECK_EQUAL(__builtin_cpu_supports("fma") != 0, (found & EC_CPU_FMA) != 0);
  CHECK_EQUAL(__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                  __builtin_cpu_supports("avx512dq"),
              (found & EC_CPU_AVX512) != 0);
  CHECK_EQUAL(__builtin_cpu_supports("avx512vnni") != 0, (found & EC_CPU_AVX512VNNI) != 0);
  CHECK_EQUAL(__builtin_cpu_supports("avx512vpopcntdq") != 0,
              (found & EC_CPU_AVX512VPOPCNTDQ) != 0);
  CHECK_EQUAL(__builtin_cpu_supports("avx512vbmi") != 0, (found & EC_CPU_AVX512VBMI) != 0);
#endif
}

static void test_refusal(void) {
  demo_copy copy;
  demo_copy_make(&copy);
  copy.model.required_features = "transputer";
  ec_session *session = NULL;
  CHECK_STATUS(EC_ERROR_CPU_FEATURE, ec_session_open(&copy.model, NULL, &session));
  CHECK_MESSAGE("'transputer'");
  CHECK(session == NULL);
}

int main(void) {
  test_parsing();
  test_this_processor();
  test_refusal();
  return 0;
}
