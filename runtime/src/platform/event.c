#define _GNU_SOURCE /* syscall under -std=c11 */
#include "platform/event.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/clock.h"
#include "platform/thread.h"

/* Looks at the counter between two looks at the clock. */
#define SPINS_PER_CLOCK 32

/* No wake-up is lost: the waiter sets `asleep` and then looks at `value`, the other side
 * changes `value` and then looks at `asleep`, all sequentially consistent. At least one of
 * them sees what the other did. */

#if EC_EVENT_FUTEX
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_futex /* 32-bit systems born with 64-bit time */
#define SYS_futex SYS_futex_time64
#endif

bool ec_event_init(ec_event *event) {
  atomic_init(&event->value, 0);
  atomic_init(&event->asleep, 0);
  return true;
}

void ec_event_destroy(ec_event *event) { (void)event; }

static void wake(ec_event *event) {
  (void)syscall(SYS_futex, &event->value, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void sleep_while(ec_event *event, uint32_t seen) {
  while (atomic_load(&event->value) == seen) { /* signals wake a futex early */
    (void)syscall(SYS_futex, &event->value, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
  }
}

#else /* condition variables: macOS and anything else with POSIX threads */
#include <pthread.h>

bool ec_event_init(ec_event *event) {
  atomic_init(&event->value, 0);
  atomic_init(&event->asleep, 0);
  if (pthread_mutex_init(&event->mutex, NULL) != 0) {
    return false;
  }
  if (pthread_cond_init(&event->changed, NULL) != 0) {
    (void)pthread_mutex_destroy(&event->mutex);
    return false;
  }
  return true;
}

void ec_event_destroy(ec_event *event) {
  (void)pthread_cond_destroy(&event->changed);
  (void)pthread_mutex_destroy(&event->mutex);
}

static void wake(ec_event *event) {
  (void)pthread_mutex_lock(&event->mutex);
  (void)pthread_cond_signal(&event->changed);
  (void)pthread_mutex_unlock(&event->mutex);
}

static void sleep_while(ec_event *event, uint32_t seen) {
  (void)pthread_mutex_lock(&event->mutex);
  while (atomic_load(&event->value) == seen) {
    (void)pthread_cond_wait(&event->changed, &event->mutex);
  }
  (void)pthread_mutex_unlock(&event->mutex);
}

#endif

void ec_event_advance(ec_event *event) {
  atomic_fetch_add(&event->value, 1);
  if (atomic_load(&event->asleep) != 0) {
    wake(event);
  }
}

/* Whether the value changed while spinning. */
static bool spin_while(const ec_event *event, uint32_t seen, uint64_t spin_ns) {
  uint64_t end_ns = 0;
  for (;;) {
    for (int i = 0; i < SPINS_PER_CLOCK; ++i) {
      if (atomic_load_explicit(&event->value, memory_order_acquire) != seen) {
        return true;
      }
      ec_processor_relax();
    }
    uint64_t now_ns = ec_clock_ns();
    if (end_ns == 0) {
      end_ns = now_ns + spin_ns;
    }
    if (now_ns >= end_ns) {
      return false;
    }
  }
}

uint32_t ec_event_wait(ec_event *event, uint32_t seen, uint64_t spin_ns) {
  if (!spin_while(event, seen, spin_ns)) {
    atomic_store(&event->asleep, 1);
    sleep_while(event, seen);
    atomic_store(&event->asleep, 0);
  }
  return atomic_load_explicit(&event->value, memory_order_acquire);
}
