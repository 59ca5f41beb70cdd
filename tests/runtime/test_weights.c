/* Weights: embedded, in memory, in a file; and every way in which they can be wrong. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "demo_model.h"
#include "edgecomp/edgecomp.h"
#include "session_helpers.h"

#define PATH "test_weights.bin"

static void write_file(const void *data, size_t bytes) {
  FILE *file = fopen(PATH, "wb");
  CHECK(file != NULL);
  CHECK(bytes == 0 || fwrite(data, 1, bytes, file) == bytes);
  CHECK(fclose(file) == 0);
}

/* The demo model without embedded weights. */
static void make_side_file_model(demo_copy *out) {
  demo_copy_make(out);
  out->model.embedded_weights = NULL;
  out->model.weights_file = "demo.bin";
}

static void check_open(ec_status expected, const char *part, const ec_open_options *options) {
  demo_copy copy;
  make_side_file_model(&copy);
  ec_session *session = NULL;
  CHECK_STATUS(expected, ec_session_open(&copy.model, options, &session));
  if (expected == EC_OK) {
    run_and_compare(session, 2);
  } else {
    CHECK_MESSAGE(part);
    CHECK(session == NULL);
  }
  ec_session_close(session);
}

static void test_file(void) {
  ec_open_options options = ec_open_options_default();
  options.weights_path = PATH;
  unsigned char weights[DEMO_WEIGHTS_BYTES + 1] = {0};
  memcpy(weights, demo_weights(), DEMO_WEIGHTS_BYTES);
  write_file(weights, DEMO_WEIGHTS_BYTES);
  check_open(EC_OK, "", &options);
  for (size_t i = 0; i < DEMO_WEIGHTS_BYTES; i += 15) { /* one flipped bit anywhere */
    weights[i] ^= 0x10;
    write_file(weights, DEMO_WEIGHTS_BYTES);
    check_open(EC_ERROR_WEIGHTS_HASH, PATH, &options);
    weights[i] ^= 0x10;
  }
  weights[DEMO_WEIGHTS_BYTES - 1] ^= 1; /* in the slack: the numbers stay right */
  write_file(weights, DEMO_WEIGHTS_BYTES);
  check_open(EC_ERROR_WEIGHTS_HASH, PATH, &options);
  options.skip_hash = 1;
  check_open(EC_OK, "", &options);
  write_file(weights, DEMO_WEIGHTS_BYTES - 1);
  check_open(EC_ERROR_WEIGHTS_BYTES, "255 bytes", &options);
  write_file(weights, DEMO_WEIGHTS_BYTES + 1);
  check_open(EC_ERROR_WEIGHTS_BYTES, "257 bytes", &options);
  write_file(weights, 0);
  check_open(EC_ERROR_WEIGHTS_BYTES, "0 bytes", &options);
  CHECK(remove(PATH) == 0);
  check_open(EC_ERROR_FILE, "no such file", &options);
  options.weights_path = ".";
  check_open(EC_ERROR_FILE, "not a regular file", &options);
  options.weights_path = "";
  check_open(EC_ERROR_FILE, "no such file", &options);
}

static void test_unreadable_file(void) {
  if (geteuid() == 0) {
    (void)printf("unreadable file not tested: root may read everything\n");
    return;
  }
  ec_open_options options = ec_open_options_default();
  options.weights_path = PATH;
  write_file(demo_weights(), DEMO_WEIGHTS_BYTES);
  CHECK(chmod(PATH, 0) == 0);
  check_open(EC_ERROR_FILE, "permission denied", &options);
  CHECK(remove(PATH) == 0);
}

/* The mapping outlives the file's name. */
static void test_removed_file(void) {
  demo_copy copy;
  make_side_file_model(&copy);
  ec_open_options options = ec_open_options_default();
  options.weights_path = PATH;
  write_file(demo_weights(), DEMO_WEIGHTS_BYTES);
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, ec_session_open(&copy.model, &options, &session));
  CHECK(remove(PATH) == 0);
  run_and_compare(session, 3);
  ec_session_close(session);
}

static void test_memory(void) {
  ec_open_options options = ec_open_options_default();
  options.weights = demo_weights();
  options.weights_bytes = DEMO_WEIGHTS_BYTES;
  options.weights_path = "not-looked-at"; /* memory wins */
  check_open(EC_OK, "", &options);
  options.weights_bytes = DEMO_WEIGHTS_BYTES - 64;
  check_open(EC_ERROR_WEIGHTS_BYTES, "in memory: 192 bytes", &options);
  _Alignas(64) unsigned char spoiled[DEMO_WEIGHTS_BYTES + 64];
  memcpy(spoiled, demo_weights(), DEMO_WEIGHTS_BYTES);
  spoiled[77] ^= 1;
  options.weights = spoiled;
  options.weights_bytes = DEMO_WEIGHTS_BYTES;
  check_open(EC_ERROR_WEIGHTS_HASH, "in memory", &options);
  options.weights = spoiled + 4;
  check_open(EC_ERROR_ARGUMENT, "aligned", &options);
}

static void test_embedded(void) {
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, ec_session_open(demo_model(), NULL, &session));
  run_and_compare(session, 4);
  ec_session_close(session);
  demo_copy copy;
  demo_copy_make(&copy);
  copy.model.weights_hash ^= 1;
  session = NULL;
  CHECK_STATUS(EC_ERROR_WEIGHTS_HASH, ec_session_open(&copy.model, NULL, &session));
  CHECK_MESSAGE("embedded");
  check_open(EC_ERROR_ARGUMENT, "demo.bin", NULL); /* nothing embedded, nothing given */
}

int main(void) {
  test_file();
  test_unreadable_file();
  test_removed_file();
  test_memory();
  test_embedded();
  return 0;
}
