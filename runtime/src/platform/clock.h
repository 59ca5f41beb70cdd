/* Monotonic time. */
#ifndef EDGECOMP_SRC_PLATFORM_CLOCK_H
#define EDGECOMP_SRC_PLATFORM_CLOCK_H

#include <stdint.h>

/* Nanoseconds since an unspecified moment: only differences mean something. Never goes back.
 */
uint64_t ec_clock_ns(void);

#endif /* EDGECOMP_SRC_PLATFORM_CLOCK_H */
