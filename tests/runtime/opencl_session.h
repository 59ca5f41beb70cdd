/* Sessions of opencl_model.h on the driver that fails on demand. */
#ifndef EDGECOMP_TESTS_RUNTIME_OPENCL_SESSION_H
#define EDGECOMP_TESTS_RUNTIME_OPENCL_SESSION_H

#include <stddef.h>

#include "check.h"
#include "edgecomp/edgecomp.h"
#include "fake_opencl.h"
#include "opencl_model.h"

static inline ec_open_options opencl_options(void) {
  ec_open_options options = ec_open_options_default();
  options.skip_hash = 1;
  return options;
}

static inline ec_session *opencl_open(const opencl_model *of) {
  ec_open_options options = opencl_options();
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, ec_session_open(&of->model, &options, &session));
  return session;
}

static inline void opencl_refuse(const opencl_model *of, const ec_open_options *options,
                                 ec_status expected, const char *message) {
  ec_session *session = NULL;
  ec_open_options usual = opencl_options();
  CHECK_STATUS(expected,
               ec_session_open(&of->model, options != NULL ? options : &usual, &session));
  CHECK_MESSAGE(message);
  CHECK(session == NULL);
  CHECK_EQUAL(0, fake.live);
}

#endif /* EDGECOMP_TESTS_RUNTIME_OPENCL_SESSION_H */
