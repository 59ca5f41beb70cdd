#define _GNU_SOURCE /* pthread_sigmask and sysconf under -std=c11 */
#include "platform/thread.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

/* Kernels keep small tiles on the stack; musl would give a thread 128 KiB only. */
#define STACK_BYTES ((size_t)1 << 20)

bool ec_thread_start(void *(*function)(void *), void *argument, ec_thread *out_thread) {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) {
    return false;
  }
  (void)pthread_attr_setstacksize(&attributes, STACK_BYTES); /* the default also works */
  /* A new thread inherits the mask: the program's signals go to its own threads. */
  sigset_t all;
  sigset_t before;
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = pthread_create(&out_thread->handle, &attributes, function, argument) == 0;
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  (void)pthread_attr_destroy(&attributes);
  return started;
}

void ec_thread_join(ec_thread thread) { (void)pthread_join(thread.handle, NULL); }

void ec_thread_yield(void) { (void)sched_yield(); }

uint32_t ec_processor_count(void) {
  long count = sysconf(_SC_NPROCESSORS_ONLN);
  return count < 1 ? 1 : (uint32_t)count;
}
