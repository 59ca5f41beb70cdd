#define _GNU_SOURCE /* clock_gettime under -std=c11 */
#include "platform/clock.h"

#include <stdint.h>
#include <time.h>

uint64_t ec_clock_ns(void) {
  struct timespec now = {0};
  (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
