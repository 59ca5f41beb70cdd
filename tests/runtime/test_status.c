/* Status names, messages and the functions' answers to bad arguments. */
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "core/message.h"
#include "demo_model.h"
#include "edgecomp/edgecomp.h"

static const ec_status all[] = {
    EC_OK,
    EC_ERROR_ARGUMENT,
    EC_ERROR_INPUT_NAME,
    EC_ERROR_INPUT_BYTES,
    EC_ERROR_MEMORY_TOO_SMALL,
    EC_ERROR_SHAPE,
    EC_ERROR_COUNT,
    EC_ERROR_ROUNDS,
    EC_ERROR_BRANCH,
    EC_ERROR_OUT_OF_MEMORY,
    EC_ERROR_FILE,
    EC_ERROR_THREAD,
    EC_ERROR_DESCRIPTOR,
    EC_ERROR_VERSION,
    EC_ERROR_WEIGHTS_BYTES,
    EC_ERROR_WEIGHTS_HASH,
    EC_ERROR_CPU_FEATURE,
    EC_ERROR_DEVICE_ABSENT,
    EC_ERROR_DEVICE,
};

static void test_names(void) {
  size_t count = sizeof all / sizeof all[0];
  for (size_t i = 0; i < count; ++i) {
    CHECK(strcmp(ec_status_name(all[i]), "unknown") != 0);
    for (size_t j = i + 1; j < count; ++j) {
      CHECK(strcmp(ec_status_name(all[i]), ec_status_name(all[j])) != 0);
    }
  }
  CHECK(strcmp(ec_status_name((ec_status)0x7f), "unknown") == 0);
}

static void *message_of_new_thread(void *unused) {
  (void)unused;
  CHECK_EQUAL(0, strlen(ec_last_message()));
  (void)ec_message_set("other");
  return NULL;
}

static void test_messages(void) {
  CHECK_EQUAL(0, strlen(ec_last_message()));
#ifndef EC_NO_MESSAGES
  CHECK_STATUS(EC_ERROR_FILE, EC_FAIL(EC_ERROR_FILE, "file %d", 7));
  CHECK(strcmp("file 7", ec_last_message()) == 0);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, message_of_new_thread, NULL) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(strcmp("file 7", ec_last_message()) == 0);
  char text[2 * EC_MESSAGE_BYTES];
  memset(text, 'a', sizeof text);
  text[sizeof text - 1] = '\0';
  (void)ec_message_set("%s", text);
  CHECK_EQUAL(EC_MESSAGE_BYTES - 1, strlen(ec_last_message()));
#else
  (void)message_of_new_thread;
#endif
}

static void test_no_session(void) {
  ec_session *session = NULL;
  void *data = NULL;
  const void *output = NULL;
  uint64_t bytes = 0;
  ec_call_profile profile = {0};
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_run(session));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_run_prefix(session, 0));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_run_profiled(session, &profile, 1));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_set_input(session, 0, &profile, 1));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_input_data(session, 0, &data, &bytes));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_get_output(session, 0, &profile, 1));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_output_data(session, 0, &output, &bytes));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_tensor_data(session, 0, &output, &bytes));
  CHECK(ec_session_model(NULL) == NULL);
  ec_session_close(NULL);
}

static void test_null_arguments(void) {
  ec_session *session = NULL;
  uint64_t bytes = 0;
  uint32_t index = 0;
  char memory[1];
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_memory(NULL, NULL, &bytes));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_memory(demo_model(), NULL, NULL));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_open(NULL, NULL, &session));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_open(demo_model(), NULL, NULL));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_init(demo_model(), NULL, NULL, 0, &session));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_init(demo_model(), NULL, memory, 1, NULL));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_model_input_index(NULL, "x", &index));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_model_input_index(demo_model(), NULL, &index));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_model_output_index(NULL, "y", &index));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_model_output_index(demo_model(), "y", NULL));
}

static void test_options(void) {
  ec_session *session = NULL;
  ec_open_options options = ec_open_options_default();
  options.struct_bytes = 0;
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_open(demo_model(), &options, &session));
  options.struct_bytes = sizeof options + 8;
  CHECK_STATUS(EC_ERROR_VERSION, ec_session_open(demo_model(), &options, &session));
  options = ec_open_options_default();
  options.threads = EC_MAX_THREADS + 1;
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_open(demo_model(), &options, &session));
  const uint32_t none[] = {0, 0};
  options.threads = 2;
  options.thread_shares = none;
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_open(demo_model(), &options, &session));
  const uint32_t many[] = {UINT32_MAX, 1};
  options.thread_shares = many;
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_open(demo_model(), &options, &session));
  CHECK(session == NULL);
  options = ec_open_options_default();
  options.threads = 0; /* means one */
  CHECK_STATUS(EC_OK, ec_session_open(demo_model(), &options, &session));
  ec_session_close(session);
}

int main(void) {
  test_messages();
  test_names();
  test_no_session();
  test_null_arguments();
  test_options();
  return 0;
}
