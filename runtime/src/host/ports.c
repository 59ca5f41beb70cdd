/* Finding, reading and writing the tensors of a session. */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/message.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "exec/device.h"
#include "host/session.h"
#include "host/shapes.h"

/* Address of a tensor; only those in the arena may be written to. */
static uint8_t *tensor_address(const ec_session *session, uint32_t index) {
  const ec_tensor *tensor = &session->model->tensors[index];
  const uint8_t *base =
      tensor->storage == EC_STORAGE_WEIGHTS ? session->weights.data : session->arena;
  return (uint8_t *)(uintptr_t)(base + (size_t)tensor->offset_bytes);
}

static ec_status find_port(const ec_port *ports, uint32_t count, const char *name,
                           const char *kind, uint32_t *out_index) {
  if (name == NULL || out_index == NULL) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "name or out_index is NULL");
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (strcmp(ports[i].name, name) == 0) {
      *out_index = i;
      return EC_OK;
    }
  }
  return EC_FAIL(EC_ERROR_INPUT_NAME, "the model has no %s named '%s'", kind, name);
}

ec_status ec_model_input_index(const ec_model *model, const char *name, uint32_t *out_index) {
  if (model == NULL) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "no model was given");
  }
  return find_port(model->inputs, model->input_count, name, "input", out_index);
}

ec_status ec_model_output_index(const ec_model *model, const char *name, uint32_t *out_index) {
  if (model == NULL) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "no model was given");
  }
  return find_port(model->outputs, model->output_count, name, "output", out_index);
}

ec_status ec_session_input_data(ec_session *session, uint32_t index, void **out_data,
                                uint64_t *out_bytes) {
  if (session == NULL) {
    return ec_no_session();
  }
  if (index >= session->model->input_count || out_data == NULL || out_bytes == NULL) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "input %" PRIu32 " of %" PRIu32 ", or out is NULL",
                   index, session->model->input_count);
  }
  *out_data = tensor_address(session, session->model->inputs[index].tensor);
  *out_bytes = ec_input_bytes(session, index);
  return EC_OK;
}

ec_status ec_session_output_data(const ec_session *session, uint32_t index,
                                 const void **out_data, uint64_t *out_bytes) {
  if (session == NULL) {
    return ec_no_session();
  }
  if (index >= session->model->output_count || out_data == NULL || out_bytes == NULL) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "output %" PRIu32 " of %" PRIu32 ", or out is NULL",
                   index, session->model->output_count);
  }
  *out_data = tensor_address(session, session->model->outputs[index].tensor);
  *out_bytes = ec_output_bytes(session, index);
  return EC_OK;
}

static bool has_tensor(const ec_call *call, uint32_t tensor) {
  for (uint32_t i = 0; i < call->pointer_count; ++i) {
    if (call->tensors[i] == tensor) {
      return true;
    }
  }
  return false;
}

/* Bring a tensor from the device that used it last in the last run; in the arena already where
 * that is the CPU, or nobody did. */
static ec_status fetch(const ec_session *session, uint32_t tensor) {
  const ec_model *model = session->model;
  for (uint32_t i = session->calls_run; i-- > 0;) {
    if (has_tensor(&model->calls[i], tensor)) {
      const ec_device *device = &session->devices[model->calls[i].device];
      return device->backend->fetch != NULL ? device->backend->fetch(device->state, tensor)
                                            : EC_OK;
    }
  }
  return EC_OK;
}

ec_status ec_session_tensor_data(const ec_session *session, uint32_t tensor,
                                 const void **out_data, uint64_t *out_bytes) {
  if (session == NULL) {
    return ec_no_session();
  }
  if (tensor >= session->model->tensor_count || out_data == NULL || out_bytes == NULL) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "tensor %" PRIu32 " of %" PRIu32 ", or out is NULL",
                   tensor, session->model->tensor_count);
  }
  ec_status status = session->model->tensors[tensor].storage == EC_STORAGE_ARENA
                         ? fetch(session, tensor)
                         : EC_OK;
  if (status == EC_OK) {
    *out_data = tensor_address(session, tensor);
    *out_bytes = session->model->tensors[tensor].bytes;
  }
  return status;
}

static ec_status check_bytes(const ec_port *port, uint64_t have, const void *data,
                             uint64_t bytes) {
  if (bytes != have) {
    return EC_FAIL(EC_ERROR_INPUT_BYTES, "'%s' has %" PRIu64 " bytes, not %" PRIu64,
                   port->name, have, bytes);
  }
  if (data == NULL && bytes != 0) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "no data for '%s'", port->name);
  }
  return EC_OK;
}

ec_status ec_session_set_input(ec_session *session, uint32_t index, const void *data,
                               uint64_t bytes) {
  void *own = NULL;
  uint64_t own_bytes = 0;
  ec_status status = ec_session_input_data(session, index, &own, &own_bytes);
  if (status == EC_OK) {
    status = check_bytes(&session->model->inputs[index], own_bytes, data, bytes);
  }
  if (status == EC_OK && bytes != 0) {
    memcpy(own, data, (size_t)bytes);
  }
  return status;
}

ec_status ec_session_get_output(const ec_session *session, uint32_t index, void *data,
                                uint64_t bytes) {
  const void *own = NULL;
  uint64_t own_bytes = 0;
  ec_status status = ec_session_output_data(session, index, &own, &own_bytes);
  if (status == EC_OK) {
    status = check_bytes(&session->model->outputs[index], own_bytes, data, bytes);
  }
  if (status == EC_OK && bytes != 0) {
    memcpy(data, own, (size_t)bytes);
  }
  return status;
}
