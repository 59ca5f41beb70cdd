/* Sessions on different threads at once do not meet. */
#include <pthread.h>
#include <stdint.h>

#include "check.h"
#include "demo_model.h"
#include "edgecomp/edgecomp.h"
#include "session_helpers.h"

#define RUNS 200

static void *open_and_run(void *argument) {
  uint32_t number = *(const uint32_t *)argument;
  ec_open_options options = ec_open_options_default();
  options.threads = 1 + number;
  for (int times = 0; times < 3; ++times) {
    ec_session *session = NULL;
    CHECK_STATUS(EC_OK, ec_session_open(demo_model(), &options, &session));
    for (uint32_t run = 0; run < RUNS; ++run) {
      run_and_compare(session, 1000 * number + run);
    }
    uint32_t index = 0;
    CHECK_STATUS(EC_ERROR_INPUT_NAME, ec_model_input_index(demo_model(), "no", &index));
    CHECK_MESSAGE("'no'");
    ec_session_close(session);
  }
  return NULL;
}

/* A session may move to another thread between runs. */
static void *run_once(void *session) {
  run_and_compare(session, 77);
  return NULL;
}

int main(void) {
  pthread_t threads[2];
  const uint32_t numbers[] = {0, 1};
  for (int i = 0; i < 2; ++i) {
    CHECK(pthread_create(&threads[i], NULL, open_and_run, (void *)&numbers[i]) == 0);
  }
  for (int i = 0; i < 2; ++i) {
    CHECK(pthread_join(threads[i], NULL) == 0);
  }
  ec_open_options options = ec_open_options_default();
  options.threads = 3;
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, ec_session_open(demo_model(), &options, &session));
  for (int i = 0; i < 5; ++i) {
    CHECK(pthread_create(&threads[0], NULL, run_once, session) == 0);
    CHECK(pthread_join(threads[0], NULL) == 0);
  }
  ec_session_close(session);
  return 0;
}
