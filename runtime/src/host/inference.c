/* Running a session. */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>

#include "core/message.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "exec/run.h"
#include "host/session.h"

static ec_run run_of(ec_session *session) {
  return (ec_run){session->model, session->devices, session->arena, session->weights.data,
                  session->model->dynamic != NULL ? &session->sizes : NULL};
}

ec_status ec_session_run(ec_session *session) {
  if (session == NULL) {
    return ec_no_session();
  }
  ec_run run = run_of(session);
  session->calls_run = session->model->call_count;
  return ec_run_calls(&run, session->model->call_count);
}

ec_status ec_session_run_prefix(ec_session *session, uint32_t call_count) {
  if (session == NULL) {
    return ec_no_session();
  }
  if (call_count > session->model->call_count) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "the first %" PRIu32 " of %" PRIu32 " calls", call_count,
                   session->model->call_count);
  }
  ec_run run = run_of(session);
  session->calls_run = call_count;
  return ec_run_calls(&run, call_count);
}

ec_status ec_session_run_profiled(ec_session *session, ec_call_profile *profiles,
                                  uint32_t profile_count) {
  if (session == NULL) {
    return ec_no_session();
  }
  if (profile_count != session->model->call_count ||
      (profiles == NULL && profile_count != 0)) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "%" PRIu32 " profiles for %" PRIu32 " calls",
                   profile_count, session->model->call_count);
  }
  ec_run run = run_of(session);
  session->calls_run = session->model->call_count;
  return ec_run_profiled(&run, profiles);
}
