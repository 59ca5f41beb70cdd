/* Clocks and memory of the process. */
#ifndef EDGECOMP_TOOLS_MEASURE_H
#define EDGECOMP_TOOLS_MEASURE_H

#include <stdint.h>

/* Nanoseconds of a monotonic clock. */
uint64_t wall_ns(void);

/* Nanoseconds that all threads of the process have computed, waiting in a loop included. */
uint64_t cpu_ns(void);

/* Largest resident memory of the process so far, 0 when the system does not say. */
uint64_t peak_resident_bytes(void);

#endif /* EDGECOMP_TOOLS_MEASURE_H */
