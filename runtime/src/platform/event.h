/* A counter that one thread waits on and others advance.
 *
 * The waiter spins first, because the next job usually comes within microseconds, and then
 * sleeps. Advancing costs a system call only when the waiter really sleeps.
 */
#ifndef EDGECOMP_SRC_PLATFORM_EVENT_H
#define EDGECOMP_SRC_PLATFORM_EVENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#if defined(__linux__) && !defined(EC_NO_FUTEX)
#define EC_EVENT_FUTEX 1
#else
#define EC_EVENT_FUTEX 0
#endif

typedef struct ec_event {
  _Atomic uint32_t value;
  _Atomic uint32_t asleep; /* 1 while the waiter sleeps or is about to */
#if !EC_EVENT_FUTEX
  pthread_mutex_t mutex;
  pthread_cond_t changed;
#endif
} ec_event;

/* Make an event with value 0. False when the system refuses. */
bool ec_event_init(ec_event *event);

void ec_event_destroy(ec_event *event);

/* Add 1 and wake the waiter. What the caller wrote before is visible to the woken thread. */
void ec_event_advance(ec_event *event);

/* Wait until the value is not `seen`, spinning for up to `spin_ns` before sleeping; returns
 * the new value. At most one thread waits on an event at a time. */
uint32_t ec_event_wait(ec_event *event, uint32_t seen, uint64_t spin_ns);

#endif /* EDGECOMP_SRC_PLATFORM_EVENT_H */
