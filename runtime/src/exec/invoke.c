#include "exec/invoke.h"

#include <stdint.h>

#include "edgecomp/model.h"

typedef void *ptr;
typedef void (*kernel_1)(ptr, int32_t, int32_t);
typedef void (*kernel_2)(ptr, ptr, int32_t, int32_t);
typedef void (*kernel_3)(ptr, ptr, ptr, int32_t, int32_t);
typedef void (*kernel_4)(ptr, ptr, ptr, ptr, int32_t, int32_t);
typedef void (*kernel_5)(ptr, ptr, ptr, ptr, ptr, int32_t, int32_t);
typedef void (*kernel_6)(ptr, ptr, ptr, ptr, ptr, ptr, int32_t, int32_t);
typedef void (*kernel_7)(ptr, ptr, ptr, ptr, ptr, ptr, ptr, int32_t, int32_t);
typedef void (*kernel_8)(ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, int32_t, int32_t);
typedef void (*kernel_9)(ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, int32_t, int32_t);
typedef void (*kernel_10)(ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, int32_t, int32_t);
typedef void (*kernel_11)(ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, int32_t,
                          int32_t);
typedef void (*kernel_12)(ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, int32_t,
                          int32_t);
typedef void (*kernel_13)(ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr,
                          int32_t, int32_t);
typedef void (*kernel_14)(ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr,
                          int32_t, int32_t);

_Static_assert(EC_MAX_INVOKE_POINTERS == 14, "one case for each number of pointers");

void ec_invoke(ec_kernel kernel, void *const *p, uint32_t count, int32_t lo, int32_t hi) {
  switch (count) {
    case 1:
      ((kernel_1)kernel)(p[0], lo, hi);
      break;
    case 2:
      ((kernel_2)kernel)(p[0], p[1], lo, hi);
      break;
    case 3:
      ((kernel_3)kernel)(p[0], p[1], p[2], lo, hi);
      break;
    case 4:
      ((kernel_4)kernel)(p[0], p[1], p[2], p[3], lo, hi);
      break;
    case 5:
      ((kernel_5)kernel)(p[0], p[1], p[2], p[3], p[4], lo, hi);
      break;
    case 6:
      ((kernel_6)kernel)(p[0], p[1], p[2], p[3], p[4], p[5], lo, hi);
      break;
    case 7:
      ((kernel_7)kernel)(p[0], p[1], p[2], p[3], p[4], p[5], p[6], lo, hi);
      break;
    case 8:
      ((kernel_8)kernel)(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], lo, hi);
      break;
    case 9:
      ((kernel_9)kernel)(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], lo, hi);
      break;
    case 10:
      ((kernel_10)kernel)(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], lo, hi);
      break;
    case 11:
      ((kernel_11)kernel)(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10],
                          lo, hi);
      break;
    case 12:
      ((kernel_12)kernel)(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10],
                          p[11], lo, hi);
      break;
    case 13:
      ((kernel_13)kernel)(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10],
                          p[11], p[12], lo, hi);
      break;
    case 14:
      ((kernel_14)kernel)(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10],
                          p[11], p[12], p[13], lo, hi);
      break;
    default: /* ruled out when the descriptor was checked */
      break;
  }
}
