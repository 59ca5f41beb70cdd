#include "session_helpers.h"

#include <stdint.h>
#include <string.h>

#include "check.h"
#include "demo_model.h"
#include "edgecomp/edgecomp.h"

void set_inputs(ec_session *session, uint32_t seed) {
  float x[DEMO_ELEMENTS];
  float gain = 0;
  demo_input(seed, x, &gain);
  CHECK_STATUS(EC_OK, ec_session_set_input(session, 0, x, sizeof x));
  CHECK_STATUS(EC_OK, ec_session_set_input(session, 1, &gain, sizeof gain));
}

void compare_outputs(const ec_session *session, uint32_t seed) {
  float x[DEMO_ELEMENTS];
  float gain = 0;
  demo_input(seed, x, &gain);
  demo_result expected;
  demo_reference(x, gain, &expected);
  int8_t y[DEMO_ELEMENTS];
  float row_sum[DEMO_ROWS];
  float total = 0;
  float bias[DEMO_COLUMNS];
  CHECK_STATUS(EC_OK, ec_session_get_output(session, 0, y, sizeof y));
  CHECK_STATUS(EC_OK, ec_session_get_output(session, 1, row_sum, sizeof row_sum));
  CHECK_STATUS(EC_OK, ec_session_get_output(session, 2, &total, sizeof total));
  CHECK_STATUS(EC_OK, ec_session_get_output(session, 3, bias, sizeof bias));
  CHECK(memcmp(expected.y, y, sizeof y) == 0);
  CHECK(memcmp(expected.row_sum, row_sum, sizeof row_sum) == 0);
  CHECK(memcmp(&expected.total, &total, sizeof total) == 0);
  CHECK(memcmp((const char *)demo_weights() + 128, bias, sizeof bias) == 0);
}

void run_and_compare(ec_session *session, uint32_t seed) {
  set_inputs(session, seed);
  CHECK_STATUS(EC_OK, ec_session_run(session));
  compare_outputs(session, seed);
}

void check_refused(const ec_model *model, const char *part) {
  ec_session *session = NULL;
  CHECK_STATUS(EC_ERROR_DESCRIPTOR, ec_session_open(model, NULL, &session));
  CHECK_MESSAGE(part);
  CHECK(session == NULL);
}
