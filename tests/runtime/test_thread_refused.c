/* A system that has no more threads: open says so and leaves nothing behind. Linked with
 * --wrap=pthread_create. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>

#include "check.h"
#include "demo_model.h"
#include "edgecomp/edgecomp.h"
#include "session_helpers.h"

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*function)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*function)(void *), void *argument);

static int threads_left;

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*function)(void *), void *argument) {
  if (threads_left == 0) {
    return EAGAIN;
  }
  --threads_left;
  return __real_pthread_create(thread, attributes, function, argument);
}

int main(void) {
  ec_open_options options = ec_open_options_default();
  options.threads = 6;
  ec_session *session = NULL;
  for (int available = 0; available < 5; ++available) {
    threads_left = available;
    CHECK_STATUS(EC_ERROR_THREAD, ec_session_open(demo_model(), &options, &session));
    CHECK_MESSAGE("6 threads");
    CHECK(session == NULL);
  }
  threads_left = 5;
  CHECK_STATUS(EC_OK, ec_session_open(demo_model(), &options, &session));
  run_and_compare(session, 8);
  ec_session_close(session);
  return 0;
}
