#define _GNU_SOURCE /* clock_gettime and getrusage under -std=c11 */
#include "measure.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

static uint64_t read_clock(clockid_t clock) {
  struct timespec now = {0};
  (void)clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t wall_ns(void) { return read_clock(CLOCK_MONOTONIC); }

uint64_t cpu_ns(void) { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }

/* Linux counts the memory of the process that started this one into ru_maxrss, which would
 * make a large launcher look like a large model; VmHWM begins anew with the program. */
static uint64_t high_water_bytes(void) {
  FILE *file = fopen("/proc/self/status", "r");
  if (file == NULL) {
    return 0;
  }
  char line[256];
  unsigned long long kibibytes = 0;
  while (kibibytes == 0 && fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "VmHWM: %llu kB", &kibibytes) != 1) {
      kibibytes = 0;
    }
  }
  (void)fclose(file);
  return kibibytes * 1024;
}

uint64_t peak_resident_bytes(void) {
  uint64_t bytes = high_water_bytes();
  struct rusage usage;
  if (bytes == 0 && getrusage(RUSAGE_SELF, &usage) == 0) {
#ifdef __APPLE__
    bytes = (uint64_t)usage.ru_maxrss;
#else
    bytes = (uint64_t)usage.ru_maxrss * 1024;
#endif
  }
  return bytes;
}
