/* Threads of the operating system. */
#ifndef EDGECOMP_SRC_PLATFORM_THREAD_H
#define EDGECOMP_SRC_PLATFORM_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct ec_thread {
  pthread_t handle;
} ec_thread;

/* Start a thread that takes no signals. False when the system has no more threads. */
bool ec_thread_start(void *(*function)(void *), void *argument, ec_thread *out_thread);

/* Wait for its end. */
void ec_thread_join(ec_thread thread);

/* Let another thread have the processor, where one waits for it. */
void ec_thread_yield(void);

/* Processors that are switched on, at least 1. */
uint32_t ec_processor_count(void);

/* Hint to the processor that this is a waiting loop. */
static inline void ec_processor_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory"); /* a real pause; `yield` is a no-op on most cores */
#elif defined(__arm__) && __ARM_ARCH >= 7
  __asm__ volatile("yield" ::: "memory");
#else
  __asm__ volatile("" ::: "memory");
#endif
}

#endif /* EDGECOMP_SRC_PLATFORM_THREAD_H */
