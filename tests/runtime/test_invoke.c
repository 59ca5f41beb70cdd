/* Kernels with every number of pointers get the right ones in the right order. */
#include <stdint.h>

#include "check.h"
#include "edgecomp/model.h"
#include "exec/invoke.h"

static uint32_t seen_count;
static uintptr_t seen_sum; /* of pointer value times position */
static int32_t seen_lo;
static int32_t seen_hi;

static void note(uint32_t count, void *const *pointers, int32_t lo, int32_t hi) {
  seen_count = count;
  seen_sum = 0;
  for (uint32_t i = 0; i < count; ++i) {
    seen_sum += (uintptr_t)pointers[i] * (i + 1);
  }
  seen_lo = lo;
  seen_hi = hi;
}

#define KERNEL(count, parameters, ...)      \
  static void kernel_##count parameters {   \
    void *const pointers[] = {__VA_ARGS__}; \
    note(count, pointers, lo, hi);          \
  }
#define RANGE int32_t lo, int32_t hi

KERNEL(1, (void *a, RANGE), a)
KERNEL(2, (void *a, void *b, RANGE), a, b)
KERNEL(3, (void *a, void *b, void *c, RANGE), a, b, c)
KERNEL(4, (void *a, void *b, void *c, void *d, RANGE), a, b, c, d)
KERNEL(5, (void *a, void *b, void *c, void *d, void *e, RANGE), a, b, c, d, e)
KERNEL(6, (void *a, void *b, void *c, void *d, void *e, void *f, RANGE), a, b, c, d, e, f)
KERNEL(7, (void *a, void *b, void *c, void *d, void *e, void *f, void *g, RANGE), a, b, c, d,
       e, f, g)
KERNEL(8, (void *a, void *b, void *c, void *d, void *e, void *f, void *g, void *h, RANGE), a,
       b, c, d, e, f, g, h)
KERNEL(9,
       (void *a, void *b, void *c, void *d, void *e, void *f, void *g, void *h, void *i,
        RANGE),
       a, b, c, d, e, f, g, h, i)
KERNEL(10,
       (void *a, void *b, void *c, void *d, void *e, void *f, void *g, void *h, void *i,
        void *j, RANGE),
       a, b, c, d, e, f, g, h, i, j)
KERNEL(11,
       (void *a, void *b, void *c, void *d, void *e, void *f, void *g, void *h, void *i,
        void *j, void *k, RANGE),
       a, b, c, d, e, f, g, h, i, j, k)
KERNEL(12,
       (void *a, void *b, void *c, void *d, void *e, void *f, void *g, void *h, void *i,
        void *j, void *k, void *l, RANGE),
       a, b, c, d, e, f, g, h, i, j, k, l)
KERNEL(13,
       (void *a, void *b, void *c, void *d, void *e, void *f, void *g, void *h, void *i,
        void *j, void *k, void *l, void *m, RANGE),
       a, b, c, d, e, f, g, h, i, j, k, l, m)
KERNEL(14,
       (void *a, void *b, void *c, void *d, void *e, void *f, void *g, void *h, void *i,
        void *j, void *k, void *l, void *m, void *n, RANGE),
       a, b, c, d, e, f, g, h, i, j, k, l, m, n)

static const ec_kernel kernels[] = {
    (ec_kernel)kernel_1,  (ec_kernel)kernel_2,  (ec_kernel)kernel_3,  (ec_kernel)kernel_4,
    (ec_kernel)kernel_5,  (ec_kernel)kernel_6,  (ec_kernel)kernel_7,  (ec_kernel)kernel_8,
    (ec_kernel)kernel_9,  (ec_kernel)kernel_10, (ec_kernel)kernel_11, (ec_kernel)kernel_12,
    (ec_kernel)kernel_13, (ec_kernel)kernel_14,
};

int main(void) {
  static char memory[64 * EC_MAX_INVOKE_POINTERS];
  void *pointers[EC_MAX_INVOKE_POINTERS];
  uintptr_t sum = 0;
  for (uint32_t i = 0; i < EC_MAX_INVOKE_POINTERS; ++i) {
    pointers[i] = memory + (size_t)i * 64;
    sum += (uintptr_t)pointers[i] * (i + 1);
    int32_t lo = (int32_t)i - 3;
    ec_invoke(kernels[i], pointers, i + 1, lo, INT32_MAX - lo - 5);
    CHECK_EQUAL(i + 1, seen_count);
    CHECK_EQUAL(sum, seen_sum);
    CHECK(lo == seen_lo && INT32_MAX - lo - 5 == seen_hi);
  }
  return 0;
}
