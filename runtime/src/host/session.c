/* Opening and closing sessions. */
#include "host/session.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/checked.h"
#include "core/message.h"
#include "core/model_check.h"
#include "device/backends.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "exec/device.h"
#include "exec/pool.h"
#include "exec/sizes.h"
#include "host/layout.h"
#include "host/options.h"
#include "host/weights.h"
#include "platform/memory.h"

/* The plans of a checked model that a session may run, in the order in which they are tried.
 */
typedef struct plan_list {
  const ec_model *first;
  const ec_model *instead; /* where a device fails; NULL for none */
} plan_list;

/* A request to open a session for one of them. */
typedef struct request {
  const ec_model *model;
  ec_open_options options;
  ec_layout layout;
} request;

static ec_status list_plans(const ec_model *model, uint32_t choice, plan_list *out) {
  *out = (plan_list){model, choice == EC_PLAN_ANY ? model->cpu_plan : NULL};
  if (choice != EC_PLAN_CPU || model->program_count == 0) { /* no kernels for a device */
    return EC_OK;
  }
  if (model->cpu_plan == NULL) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "model '%s' has no CPU plan", model->name);
  }
  out->first = model->cpu_plan;
  return EC_OK;
}

static ec_status check_request(const ec_model *model, const ec_open_options *options,
                               ec_open_options *out_options, plan_list *out_plans) {
  ec_status status = ec_model_check(model);
  if (status == EC_OK) {
    status = ec_options_resolve(options, out_options);
  }
  if (status == EC_OK) {
    status = ec_options_check_device(model, out_options);
  }
  return status == EC_OK ? list_plans(model, out_options->plan, out_plans) : status;
}

/* The statuses that are a device's own (edgecomp.h): the CPU's features are not. */
static bool is_device_failure(ec_status status) {
  return status >= EC_ERROR_DEVICE_ABSENT && status <= EC_ERROR_DEVICE_LOST;
}

static ec_status open_pool(const request *asked, uint8_t *block, ec_session *session) {
  const ec_open_options *options = &asked->options;
  session->pool =
      ec_pool_start(block + asked->layout.pool, options->threads, options->thread_shares);
  if (session->pool == NULL) {
    return EC_FAIL(EC_ERROR_THREAD, "the system does not give %" PRIu32 " threads",
                   options->threads);
  }
  return EC_OK;
}

static ec_status prepare_calls(const ec_model *model, uint32_t kind, const ec_device *device) {
  ec_status status = EC_OK;
  for (uint32_t i = 0; status == EC_OK && i < model->call_count; ++i) {
    if (model->calls[i].device == kind) {
      status = device->backend->prepare(device->state, i);
    }
  }
  return status;
}

static ec_status open_device(const request *asked, uint8_t *block, uint32_t kind,
                             ec_session *session) {
  const ec_layout *layout = &asked->layout;
  const ec_device_backend *backend = ec_device_backend_of(kind);
  ec_device_context context = {
      .model = asked->model,
      .arena = session->arena,
      .weights = session->weights.data,
      .pool = session->pool,
      .workspaces = block + layout->workspaces,
      .workspace_stride_bytes = layout->workspace_stride_bytes,
      .sizes = asked->model->dynamic != NULL ? &session->sizes : NULL,
      .options = &asked->options,
  };
  void *state = block + layout->states[kind];
  ec_status status = backend->open(&context, state);
  if (status != EC_OK) {
    return status;
  }
  session->devices[kind].backend = backend; /* from here on, close undoes it */
  session->devices[kind].state = state;
  return prepare_calls(asked->model, kind, &session->devices[kind]);
}

/* Before anything costly: a model that cannot run here fails at once. */
static ec_status probe_devices(const request *asked) {
  ec_status status = EC_OK;
  for (uint32_t kind = 0; status == EC_OK && kind < EC_DEVICE_COUNT; ++kind) {
    if (asked->layout.uses_device[kind]) {
      status = ec_device_backend_of(kind)->probe(asked->model, &asked->options);
    }
  }
  return status;
}

/* Fill in a zeroed session; on failure it is to be released. */
static ec_status build(const request *asked, uint8_t *block, ec_session *session) {
  session->model = asked->model;
  session->arena = block + asked->layout.arena;
  if (asked->model->dynamic != NULL) {
    ec_sizes_place(asked->model, block + asked->layout.sizes, &session->sizes);
  }
  ec_status status = probe_devices(asked);
  if (status == EC_OK) {
    status = ec_weights_open(asked->model, &asked->options, &session->weights);
  }
  if (status == EC_OK) {
    status = open_pool(asked, block, session);
  }
  for (uint32_t kind = 0; status == EC_OK && kind < EC_DEVICE_COUNT; ++kind) {
    if (asked->layout.uses_device[kind]) {
      status = open_device(asked, block, kind, session);
    }
  }
  return status;
}

static void release(ec_session *session) {
  for (uint32_t kind = 0; kind < EC_DEVICE_COUNT; ++kind) {
    const ec_device *device = &session->devices[kind];
    if (device->backend != NULL) {
      device->backend->close(device->state);
    }
  }
  ec_pool_stop(session->pool);
  ec_weights_close(&session->weights);
}

/* Build a session in a zeroed block of the layout's size: what a kernel reads without its
 * being written (slack) is the same in every session. */
static ec_status build_in(const request *asked, void *block, ec_session **out_session) {
  ec_session *session = block;
  ec_status status = build(asked, block, session);
  if (status != EC_OK) {
    release(session);
    return status;
  }
  *out_session = session;
  return EC_OK;
}

ec_status ec_session_memory(const ec_model *model, const ec_open_options *options,
                            uint64_t *out_bytes) {
  if (out_bytes == NULL) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "out_bytes is NULL");
  }
  ec_open_options resolved;
  plan_list plans;
  ec_status status = check_request(model, options, &resolved, &plans);
  if (status != EC_OK) {
    return status;
  }
  ec_layout layout = {0};
  status = ec_layout_make(plans.first, resolved.threads, 0, &layout);
  uint64_t most = layout.total_bytes;
  if (plans.instead != NULL && (status == EC_OK || is_device_failure(status))) {
    status = ec_layout_make(plans.instead, resolved.threads, EC_MESSAGE_BYTES, &layout);
    most = layout.total_bytes > most ? layout.total_bytes : most;
  }
  if (status == EC_OK) {
    *out_bytes = most;
  }
  return status;
}

/* Open a laid out plan in memory that is given, or, where that is NULL, in the system's. */
static ec_status open_plan(const request *asked, void *given, uint64_t given_bytes,
                           ec_session **out_session) {
  uint64_t needed = asked->layout.total_bytes;
  if (given != NULL && given_bytes < needed) {
    return EC_FAIL(EC_ERROR_MEMORY_TOO_SMALL,
                   "model '%s' needs %" PRIu64 " bytes of memory, %" PRIu64 " were given",
                   asked->model->name, needed, given_bytes);
  }
  void *owned = NULL;
  if (given != NULL) {
    memset(given, 0, (size_t)needed);
  } else {
    owned = ec_memory_allocate_zeroed((size_t)needed, EC_ALIGNMENT_BYTES);
    if (owned == NULL) {
      return EC_FAIL(EC_ERROR_OUT_OF_MEMORY, "no memory for %" PRIu64 " bytes", needed);
    }
  }
  ec_session *session = NULL;
  ec_status status = build_in(asked, given != NULL ? given : owned, &session);
  if (status != EC_OK) {
    ec_memory_release_zeroed(owned, (size_t)needed);
    return status;
  }
  session->owned_bytes = owned != NULL ? needed : 0;
  *out_session = session;
  return EC_OK;
}

/* Let a session tell of the last failure; nothing that succeeds behind one sets a message. */
static void keep_failure(ec_session *session, ec_status failure, char *room) {
  const char *message = ec_last_message(); /* shorter than the room */
  for (size_t i = 0; message[i] != '\0'; ++i) {
    room[i] = message[i];
  }
  session->device_failure = failure;
  session->device_message = room;
}

/* Open the first plan that this machine can run. */
static ec_status open_first(const ec_model *model, const ec_open_options *options, void *given,
                            uint64_t given_bytes, ec_session **out_session) {
  request asked = {0};
  plan_list plans = {0};
  ec_status status = check_request(model, options, &asked.options, &plans);
  ec_status failure = EC_OK;
  asked.model = plans.first;
  while (status == EC_OK) {
    status = ec_layout_make(asked.model, asked.options.threads,
                            failure != EC_OK ? EC_MESSAGE_BYTES : 0, &asked.layout);
    if (status == EC_OK) {
      status = open_plan(&asked, given, given_bytes, out_session);
    }
    if (failure != EC_OK || plans.instead == NULL || !is_device_failure(status)) {
      break;
    }
    failure = status;
    status = EC_OK;
    asked.model = plans.instead;
  }
  if (status == EC_OK && failure != EC_OK) {
    keep_failure(*out_session, failure, (char *)*out_session + asked.layout.message);
  }
  return status;
}

ec_status ec_session_init(const ec_model *model, const ec_open_options *options, void *memory,
                          uint64_t memory_bytes, ec_session **out_session) {
  if (memory == NULL || out_session == NULL) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "memory or out_session is NULL");
  }
  if (!ec_is_aligned(memory)) {
    return EC_FAIL(EC_ERROR_MEMORY_TOO_SMALL, "the memory is not aligned to %u bytes",
                   EC_ALIGNMENT_BYTES);
  }
  return open_first(model, options, memory, memory_bytes, out_session);
}

ec_status ec_session_open(const ec_model *model, const ec_open_options *options,
                          ec_session **out_session) {
  if (out_session == NULL) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "out_session is NULL");
  }
  return open_first(model, options, NULL, 0, out_session);
}

void ec_session_close(ec_session *session) {
  if (session != NULL) {
    release(session);
    if (session->owned_bytes != 0) { /* the session is the start of its block */
      ec_memory_release_zeroed(session, (size_t)session->owned_bytes);
    }
  }
}

ec_status ec_no_session(void) { return EC_FAIL(EC_ERROR_ARGUMENT, "no session was given"); }

const ec_model *ec_session_model(const ec_session *session) {
  return session != NULL ? session->model : NULL;
}

ec_status ec_session_device_failure(const ec_session *session, const char **out_message) {
  if (session == NULL) {
    return ec_no_session();
  }
  if (out_message != NULL) {
    *out_message = session->device_message != NULL ? session->device_message : "";
  }
  return session->device_failure;
}
